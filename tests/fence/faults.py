"""Faults that a process inflicts on itself: armed by the conductor, taken by the first process that comes by.

A fault is a file in the folder `armed`, named after the edge where it strikes, holding what is to happen. A process
that passes the edge tries to rename the file into the folder `taken`. Rename is atomic, so each armed fault strikes
once, in one process; and what lies in `taken` is what really happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What may happen at an edge.
KILL = "kill"  # SIGKILL to this process.
KILL_PARENT = "kill_parent"  # SIGKILL to the parent of a pool's child, which goes on alone.
FREEZE = "freeze"  # SIGSTOP to this process; the conductor continues it after the lease has run out.
FREEZE_WITH_PARENT = "freeze_with_parent"  # The same for a pool's child and the parent that renews for it.
TIME_OUT = "time_out"  # The work is done, and its caller is told that it timed out.


# How long a frozen process stays so, and an orphaned child pauses: well beyond the lease of a fence run (1 s).
BEYOND_LEASE_S = 1.6


@dataclass(frozen=True)
class Faults:
    """The folder of one round's faults."""

    folder: Path

    def prepare(self) -> None:
        """Begin a round: nothing armed, nothing taken."""
        for name in ("armed", "taken", "struck", "frozen", "ghosts"):
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

    @contextlib.contextmanager
    def haunting(self, label: str) -> Iterator[None]:
        """Around the time in which a run loses its claim and does not know it: its successor waits (see `exorcise`)."""
        ghost = self.folder / "ghosts" / label
        ghost.write_text(str(os.getpid()))
        yield
        ghost.unlink(missing_ok=True)

    def exorcise(self, label: str, at_most_s: float = 2 * BEYOND_LEASE_S) -> None:
        """Let the run that lost this job come back first, so that both are at their commits at the same time."""
        ghost = self.folder / "ghosts" / label
        deadline = time.monotonic() + at_most_s
        while ghost.exists() and ghost.read_text() != str(os.getpid()) and time.monotonic() < deadline:
            time.sleep(0.005)

    def freeze(self, pid: int) -> None:
        """Stop a process, leaving word for whoever is to continue it."""
        (self.folder / "frozen" / str(pid)).touch()
        os.kill(pid, signal.SIGSTOP)

    def thaw(self, after_s: float = BEYOND_LEASE_S) -> int:
        """Continue what was stopped at least `after_s` seconds ago; returns how many are still stopped."""
        still = 0
        for file in list((self.folder / "frozen").iterdir()):
            if time.time() - file.stat().st_mtime < after_s:
                still += 1
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.name), signal.SIGCONT)
            file.unlink()
        return still


def strike(action: str, faults: Faults, label: str) -> None:
    """Do to this process what `action` says. Returns only from a freeze, or when another process was meant."""
    if action == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == KILL_PARENT:
        with faults.haunting(label):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(BEYOND_LEASE_S)  # The orphan works on, and comes to its commit when its claim is long gone.
    elif action == FREEZE:
        with faults.haunting(label):
            faults.freeze(os.getpid())
    elif action == FREEZE_WITH_PARENT:
        with faults.haunting(label):
            faults.freeze(os.getppid())
            faults.freeze(os.getpid())
    else:
        raise ValueError(f"no such action: {action}")
