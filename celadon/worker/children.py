"""The children of a prefork worker report what they run; the parent renews it for them.

A child that is busy in C code can't starve its lease, and the jobs of a child that dies are put back at once.
Reports are single JSON lines shorter than PIPE_BUF, so that a pipe carries them whole from any number of children.
"""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from celadon import logs
from celadon.errors import LedgerUnavailable
from celadon.jobs import Claim
from celadon.keeper import Keeper, Running
from celadon.ledger.db import use_reserve
from celadon.ledger.recovery import holds, release_dead
from celadon.run import end_timed_out
from celadon.worker.post import post
from celadon.worker.solo import solos

log = logs.get("celadon.worker.children")


COLLECT_S = 0.3  # A killed child is gone at once, unless the kernel itself holds it.


class Reporter(Keeper):
    """A child's keeper: it tells the parent instead of renewing by itself."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe
        self._say({"op": "hello", "pid": os.getpid()})

    def add(self, run: Running) -> None:
        facts = {
            **asdict(run.claim),
            # What the parent has no use for: a report has to stay short.
            **dict.fromkeys(("payload", "trace", "tenant", "scope")),
            "claimed_at": run.claim.claimed_at.isoformat(),
            # The child has told of these when it began.
            **dict.fromkeys(("created_at", "queued_at", "run_at")),
        }
        self._say({"op": "add", "pid": run.pid, "lease_s": run.lease_s, "deadline": run.deadline, "claim": facts})

    def remove(self, run: Running) -> None:
        self._say({"op": "remove", "pid": run.pid, "pair": run.pair})

    def suspects(self) -> None:
        """There are jobs that have to run alone, which the parent sees to."""
        self._say({"op": "suspects", "pid": os.getpid()})

    def _say(self, report: dict[str, Any]) -> None:
        os.write(self._pipe, json.dumps(report).encode() + b"\n")


class Children:
    """The parent's side: reads the reports, renews, and sees who died."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        self.keeper = Keeper(on_timeout=self._out_of_time)
        self._pids: set[int] = set()
        self._in_company: set[int] = set()  # Children beside whose present run others have run.
        self._rest = b""

    def start(self) -> None:
        threading.Thread(target=self._watch, name="celadon-children", daemon=True).start()

    def _watch(self) -> None:
        use_reserve()
        while True:
            try:
                self._is_told(within=0.2)
                dead = [(pid, end.killed) for pid in self._pids if (end := ended(pid)) is not None]
                while self._is_told(within=0):  # The last words of the dead, at least, before they are buried.
                    self._take(os.read(self._read, 65536))
                for pid, killed in dead:
                    self._bury(pid, killed=killed)
            except LedgerUnavailable as error:
                log.warning("children.ledger_away", error=str(error))
                time.sleep(1)
            except Exception:
                log.exception("children.failed")
                time.sleep(1)

    def _is_told(self, *, within: float) -> bool:
        return bool(select.select([self._read], [], [], within)[0])

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            report = json.loads(line)
            self._pids.add(report["pid"])
            if report["op"] == "add":
                facts = report["claim"]
                claim = Claim(**{**facts, "payload": {}, "claimed_at": datetime.fromisoformat(facts["claimed_at"])})
                self.keeper.add(
                    Running(claim=claim, lease_s=report["lease_s"], deadline=report["deadline"], pid=report["pid"])
                )
                pids = {run.pid for run in self.keeper.running()}
                self._in_company = self._in_company | pids if len(pids) > 1 else set()
            elif report["op"] == "remove":
                for run in self.keeper.running():
                    if run.pair == tuple(report["pair"]):
                        self.keeper.remove(run)
            elif report["op"] == "suspects":
                solos.look()

    def _bury(self, pid: int, *, killed: bool) -> None:
        """Put back what a dead child held, then forget it."""
        its = [run for run in self.keeper.running() if run.pid == pid]
        others = pid in self._in_company or solos.lately(but=[run.claim.job_id for run in its])
        release_dead(post().of(pid), in_company=killed and others)
        for run in its:
            self.keeper.remove(run)
        if not holds(post().of(pid)):  # A row that was locked just then is looked at again.
            self._pids.discard(pid)

    def _out_of_time(self, run: Running) -> None:
        """End the attempt, then kill the child that runs it, unless it has gone on to another job by then."""
        end_timed_out(run)
        try:
            os.kill(run.pid, signal.SIGSTOP)
            time.sleep(0.3)  # Its last reports are read meanwhile; stopped, it can't begin another job.
            still_on_it = any(other is run for other in self.keeper.running())
            os.kill(run.pid, signal.SIGKILL if still_on_it else signal.SIGCONT)
        except ProcessLookupError:
            return

    def kill_all(self) -> None:
        for pid in list(self._pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + COLLECT_S
        while time.monotonic() < until and any(ended(pid) is None for pid in list(self._pids)):
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended."""

    killed: bool  # By SIGKILL, from outside; or it is not known how.


def ended(pid: int) -> End | None:
    """How a child has died, even if nobody has collected it yet (which this does not do either). None: it lives."""
    try:
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return End(killed=True)
    if end is None:
        return None
    return End(killed=end.si_code == os.CLD_KILLED and end.si_status == signal.SIGKILL)


_children: Children | None = None


def take() -> Children:
    """Make this process the parent of children that report to it."""
    global _children
    _children = Children()
    return _children


def children() -> Children | None:
    """Those of a prefork worker, known in its children too."""
    return _children
