"""Jobs alone in processes of their own: in quarantine after a crash, or in relief on a prefork lane.

A worker starts one small launcher (launcher.py) when it sees that it will need it, which forks a process for a job in
milliseconds: all jobs of a worker that was killed are running again at once, each alone. Whatever kills such a process
is known to be that job's doing, unless memory ran short and the kernel had several to choose from.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import IO

from celadon import drain, logs, registry
from celadon.errors import LedgerUnavailable
from celadon.ledger import recovery
from celadon.ledger.recovery import release_dead
from celadon.metrics import seats
from celadon.worker import aside
from celadon.worker import post as posts

log = logs.get("celadon.worker.solo")

# A job that its process could not have (a limit, a pause, another worker was quicker) is not tried again at once.
RETRY_S = 5.0
QUIET_S = 0.5  # Where a process could not even begin its job; twice as long each time that the next can not either.
RETRY_MAX_S = 60.0
MOST = 50  # At a time: each is a process, which takes some 30 MB, and a slot may be no more than a thread.
AT_ONCE_S = 2.0  # So far apart may be heard of deaths that came of one cause.


@dataclass(kw_only=True, slots=True)
class _Solo:
    suspect: bool
    exclusive: bool
    in_company: bool  # Others ran beside it, at least for a while.
    began: float  # By the monotonic clock.


class Solos:
    """The worker's side: hands job ids to the launcher, and recovers what a dead process held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._launcher: subprocess.Popen[bytes] | None = None
        self._under_way: dict[str, _Solo] = {}
        self._not_before: dict[str, float] = {}
        self._looking = threading.Lock()
        self._look_again = False
        self._failures = 0  # In a row, of processes that could not begin their job.
        self._quiet_until = 0.0
        self._asked_since: float | None = None  # For the slots to stand aside, for an exclusive job that waits.
        self._ended_at: dict[str, float] = {}
        self.busy: Callable[[], int] = lambda: 0  # Jobs that run in the worker's slots.
        self.elsewhere: Callable[[], object] | None = None  # In a child: tells the worker that there are suspects.

    def __len__(self) -> int:
        return len(self._under_way)

    def lately(self, *, but: Collection[str] = ()) -> bool:
        """Whether any runs, or has run until a moment ago: of several that were killed one is heard of first.

        but: jobs that do not count. A process that was begun for a job that a child had meanwhile is no company to it.
        """
        now = time.monotonic()
        with self._lock:
            self._ended_at = {job_id: at for job_id, at in self._ended_at.items() if now - at < AT_ONCE_S}
            return bool({*self._under_way, *self._ended_at}.difference(but))

    def run(self, job_id: str) -> bool:
        """Begin a job that nobody suspects alone.

        False: it is under way already, as many run as the lane allows (beside those in its slots), or the worker is
        stopping. The ledger keeps it.
        """
        return self._begin(job_id, suspect=False)

    def warm_up(self, *, missed: float = 2.0) -> None:
        """Have the launcher loaded by the time that it is needed.

        It takes a second of a processor that may be busy. So it begins when jobs of the lane have fallen silent, and is
        there when their leases have run out. missed: how many renewals in a row make a silence. While the launcher
        stands the ledger is not asked. Raises LedgerUnavailable.
        """
        if self._launcher is not None and self._launcher.poll() is None:
            return
        lane = posts.post().lane
        if recovery.some_fell_silent(lane.queues, lane.lease, missed=missed):
            with self._lock:
                if not drain.draining():
                    self._launched()

    def look(self) -> None:
        """Begin suspects that are queued, as many as the lane has slots, beside what runs in those.

        The ledger says which. Every lane looks by its clock; a message only makes it sooner.
        """
        if self.elsewhere is not None:
            self.elsewhere()
            return
        self._look_again = True
        while self._look_again and self._looking.acquire(blocking=False):
            try:
                self._look_again = False
                self._look()
            except LedgerUnavailable as error:
                log.warning("solo.ledger_away", error=str(error))
            except Exception:  # Who looks has something else to do: a slot, or who hears of those that ended.
                log.exception("solo.look_failed")
            finally:
                self._looking.release()

    def _look(self) -> None:
        lane, now = posts.post().lane, time.monotonic()
        with self._lock:
            self._not_before = {job_id: until for job_id, until in self._not_before.items() if until > now}
            known = {*self._under_way, *self._not_before}
        found = recovery.suspects(lane.queues, registry.known(), min(lane.concurrency, MOST) + len(known))
        new = [one for one in found if one.job_id not in known]
        for one in new:
            if not one.exclusive or self._has_the_worker_to_itself(now):
                self._begin(one.job_id, suspect=True, exclusive=one.exclusive)
        self._clear_the_way(waits=bool(new) and all(one.exclusive for one in new), now=now)

    def _has_the_worker_to_itself(self, now: float) -> bool:
        """Whether an exclusive job may begin: nothing else runs, or that which does has had its time to end."""
        if not (self.busy() or self._under_way):
            return True
        return self._asked_since is not None and now - self._asked_since > aside.PATIENCE_S

    def _clear_the_way(self, *, waits: bool, now: float) -> None:
        """Have the slots stand aside while an exclusive job runs, not for ever, or is the next to run."""
        with self._lock:
            under_way = list(self._under_way.values())
        runs = [one for one in under_way if one.exclusive]
        waits = waits and not any(one.suspect for one in under_way)
        self._asked_since = (self._asked_since or now) if waits else None
        aside.ask(waits or any(now - one.began < aside.HOLD_S for one in runs))

    def _begin(self, job_id: str, *, suspect: bool, exclusive: bool = False) -> bool:
        if drain.draining() or time.monotonic() < self._quiet_until:
            return False
        with self._lock:
            others = self._under_way.values()
            if suspect and any(other.exclusive or (exclusive and other.suspect) for other in others):
                return False
            # Slots that a backlog keeps busy must not keep suspects from their turn.
            beside = len(others) + (0 if suspect else self.busy())
            full = not exclusive and (beside >= posts.post().lane.concurrency or len(others) >= MOST)
            if full or job_id in self._under_way:
                return False
            stdin = self._launched().stdin
            assert stdin is not None
            try:
                stdin.write(json.dumps([job_id, exclusive]).encode() + b"\n")
                stdin.flush()
            except OSError:
                return False  # The launcher has just died; the next job starts another.
            for other in others:
                other.in_company = True
            in_company = bool(others) or self.busy() > 0
            self._under_way[job_id] = _Solo(
                suspect=suspect, exclusive=exclusive, in_company=in_company, began=time.monotonic()
            )
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Pass the worker's own stop on; the launcher passes it to the jobs' processes."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.send_signal(number)

    def _launched(self) -> subprocess.Popen[bytes]:
        if self._launcher is None or self._launcher.poll() is not None:
            here = posts.post()
            reading, writing = os.pipe()
            # The lane as this worker has it, which may be told otherwise than the operator's file says.
            lane = json.dumps(asdict(here.lane))
            shared = [str(folder)] if (folder := seats.folder()) else []
            command = [sys.executable, "-m", "celadon.worker.launcher", lane, here.boot, str(writing), *shared]
            self._launcher = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,))
            os.close(writing)
            # The old launcher is gone, and with it the word of what it had begun. That goes on, and the ledger knows.
            self._under_way.clear()
            arguments = (self._launcher, os.fdopen(reading))
            threading.Thread(target=self._hear, args=arguments, name="celadon-solos", daemon=True).start()
        return self._launcher

    def _hear(self, launcher: subprocess.Popen[bytes], reports: IO[str]) -> None:
        """Each line is `[JOB_ID, PID, EXIT_CODE]` of a process that has ended."""
        for line in reports:
            try:
                self._ended(*json.loads(line))
            except Exception:  # The thread goes on: who else would hear of the others?
                log.exception("solo.report_failed", report=line)
        with self._lock:
            if self._launcher is launcher:
                self._under_way.clear()

    def _ended(self, job_id: str, pid: int, code: int) -> None:
        with self._lock:
            solo = self._under_way.get(job_id)
        held = code != 0 and self._died(job_id, pid, code, solo)
        with self._lock:
            self._under_way.pop(job_id, None)
            now = self._ended_at[job_id] = time.monotonic()
            if code == 0:
                self._not_before[job_id] = now + RETRY_S
                self._failures = 0
            elif not held and now >= self._quiet_until:
                # It could not even begin: the database has no connection left, say. No other could either.
                self._failures += 1
                self._quiet_until = now + min(QUIET_S * 2 ** (self._failures - 1), RETRY_MAX_S)
        if solo is not None and solo.suspect and not drain.draining():
            self.look()

    def _died(self, job_id: str, pid: int, code: int, solo: _Solo | None) -> bool:
        """Recover what a dead process held. False: it held nothing, or that is not known."""
        # A job that ends its process in any other way than by SIGKILL did that itself.
        in_company = code == -signal.SIGKILL and (solo is None or solo.in_company or self.busy() > 0)
        log.warning("solo.died", job_id=job_id, pid=pid, code=code, in_company=in_company)
        try:
            return bool(release_dead(posts.post().of(pid), in_company=in_company))
        except Exception as error:
            log.warning("solo.left_to_the_lease", job_id=job_id, error=str(error))
            return False


solos = Solos()
