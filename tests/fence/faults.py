"""Faults that a process inflicts on itself: armed by the conductor, taken by the first process that comes by.

A fault is a file in the folder `armed`, named after the edge where it strikes, holding what is to happen. A process
that passes the edge tries to rename the file into the folder `taken`. Rename is atomic, so each armed fault strikes
once, in one process; and what lies in `taken` is what really happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from celadon.jobs import Claim
from tests.fence.history import Event

# What may happen at an edge.
KILL = "kill"  # SIGKILL to this process.
KILL_PARENT = "kill_parent"  # SIGKILL to the parent of a pool's child, which goes on when its claim is gone.
FREEZE = "freeze"  # SIGSTOP to this process, and SIGCONT when its claim is gone.
FREEZE_WITH_PARENT = "freeze_with_parent"  # The same for a pool's child and the parent that renews for it.
KILL_HOUSE = "kill_house"  # SIGKILL to a job that runs alone, to those beside it, and to their worker.
HALT = "halt"  # SIGSTOP to this process, and SIGCONT after a while; for one that holds no claim.
DAWDLE = "dawdle"  # This thread does nothing for a moment.
HANG = "hang"  # This thread does nothing any more.
TIME_OUT = "time_out"  # The work is done, and its caller is told that it timed out.

HALT_S = 1.3
DAWDLE_S = 0.07  # Longer than a run that a window of a second counts may take to its first line.


@dataclass(frozen=True)
class Faults:
    """The folder of one round's faults."""

    folder: Path

    def prepare(self) -> None:
        """Begin a round: nothing armed, nothing taken."""
        for name in ("armed", "taken", "struck", "asleep", "ghosts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            for file in (self.folder / name).iterdir():
                file.unlink()

    def arm(self, edge: str, action: str) -> None:
        """Let `action` happen to the next process that passes `edge`. Arming it again changes nothing."""
        fresh = self.folder / f"new-{edge}"
        fresh.write_text(action)
        fresh.rename(self.folder / "armed" / edge)

    def disarm(self) -> None:
        """What nobody passed by now strikes nobody any more."""
        for file in (self.folder / "armed").iterdir():
            file.unlink(missing_ok=True)

    def take(self, edge: str, label: str) -> str | None:
        """The action armed at `edge`, which is the caller's to carry out now; None nearly always.

        A job is struck once only: by the platform's rules one that kills its process again and again is condemned,
        and a fault that always finds the same job would look like that.
        """
        armed, taken = self.folder / "armed" / edge, self.folder / "taken" / f"{edge}@{os.getpid()}"
        try:
            os.rename(armed, taken)
        except FileNotFoundError:
            return None
        if label:
            try:
                os.close(os.open(self.folder / "struck" / label, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                os.rename(taken, armed)
                return None
        return taken.read_text()

    def taken(self) -> list[tuple[str, str]]:
        """(edge, action) of each fault that struck."""
        files = sorted((self.folder / "taken").iterdir())
        return [(file.name.rpartition("@")[0], file.read_text()) for file in files]

    def become_ghost(self, claim: Claim, label: str, stop: Callable[[], object], *, rival: bool) -> None:
        """Stand still until the conductor has seen that the claim is gone, and go on none the wiser.

        stop: brings the process to stand, in whatever way; called once word is left of who is to be awoken.
        rival: another worker can run the job meanwhile.
        """
        (self.folder / "ghosts" / label).write_text(str(os.getpid()))
        word = json.dumps({"job_id": claim.job_id, "epoch": claim.epoch, "since": time.monotonic(), "rival": rival})
        for pid in (os.getpid(), os.getppid()):
            fresh = self.folder / f"new-{pid}"
            fresh.write_text(word)
            fresh.rename(self.folder / "asleep" / str(pid))
        stop()
        mine = self.folder / "asleep" / str(os.getpid())
        while mine.exists():
            time.sleep(0.005)
        (self.folder / "ghosts" / label).unlink(missing_ok=True)

    def halt(self, pid: int, seconds: float, stop: Callable[[], object]) -> None:
        """Let a process that holds no claim stand still; the conductor awakes it after `seconds`."""
        fresh = self.folder / f"new-{pid}"
        fresh.write_text(json.dumps({"job_id": None, "since": time.monotonic(), "until": time.monotonic() + seconds}))
        fresh.rename(self.folder / "asleep" / str(pid))
        stop()

    def let_ghost_go_first(self, label: str, at_most_s: float = 3.0) -> None:
        """In the job's next run: wait for the ghost of the last one, so that both come to their commits together."""
        ghost = self.folder / "ghosts" / label
        deadline = time.monotonic() + at_most_s
        while ghost.exists() and ghost.read_text() != str(os.getpid()) and time.monotonic() < deadline:
            time.sleep(0.005)

    def asleep(self) -> list[tuple[int, Event]]:
        """(pid, word) of every process that is to be awoken."""
        return [(int(file.name), json.loads(file.read_text())) for file in (self.folder / "asleep").iterdir()]

    def awake(self, pid: int) -> None:
        """SIGCONT, which a process that was not stopped does not feel."""
        (self.folder / "asleep" / str(pid)).unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def strike(action: str, faults: Faults, claim: Claim | None, label: str) -> None:
    """Do to this process what `action` says. Returns only from a freeze, or when another process was meant."""
    me, parent = os.getpid(), os.getppid()
    if action == KILL:
        os.kill(me, signal.SIGKILL)
    if action == KILL_HOUSE:
        with contextlib.suppress(ProcessLookupError):  # The worker may be dead already.
            os.killpg(int(os.environ["FENCE_WORKER"]), signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)
    if action == HALT:
        faults.halt(me, HALT_S, lambda: os.kill(me, signal.SIGSTOP))
        return
    if action == DAWDLE:
        time.sleep(DAWDLE_S)
        return
    if action == HANG:
        threading.Event().wait()
    assert claim is not None, f"{action} is for runs"
    stops: dict[str, Callable[[], object]] = {
        KILL_PARENT: lambda: os.kill(parent, signal.SIGKILL),
        FREEZE: lambda: os.kill(me, signal.SIGSTOP),
        FREEZE_WITH_PARENT: lambda: list(map(os.kill, (parent, me), (signal.SIGSTOP,) * 2)),
    }
    # With its only worker stopped as a whole, nobody can run the job of a prefork lane meanwhile.
    faults.become_ghost(claim, label, stops[action], rival=action != FREEZE_WITH_PARENT)
