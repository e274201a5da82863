"""Keeping claims: one thread per process renews the leases of all jobs that run in it, and ends those out of time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celadon import logs
from celadon.errors import LedgerUnavailable
from celadon.jobs import Claim
from celadon.ledger import claims
from celadon.ledger.db import use_reserve
from celadon.settings import settings

log = logs.get("celadon.keeper")


@dataclass(eq=False, kw_only=True)
class Running:
    """One run in progress, as its keeper sees it."""

    claim: Claim
    lease_s: float
    deadline: float  # Monotonic time at which the run is out of time.
    pid: int = field(default_factory=os.getpid)
    lost: bool = False  # The claim is gone; the run hears of it at its next step.
    timed_out: bool = False

    @property
    def pair(self) -> tuple[str, int]:
        return self.claim.job_id, self.claim.epoch


class Keeper:
    """Renews what `add` was called for until `remove`. Threads are made at the first use."""

    def __init__(self, on_timeout: Callable[[Running], object] | None = None) -> None:
        self._runs: dict[tuple[str, int], Running] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.on_timeout = on_timeout

    def add(self, run: Running) -> None:
        with self._lock:
            self._runs[run.pair] = run
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="celadon-keeper", daemon=True)
                self._thread.start()

    def remove(self, run: Running) -> None:
        with self._lock:
            self._runs.pop(run.pair, None)

    def running(self) -> list[Running]:
        with self._lock:
            return list(self._runs.values())

    def __len__(self) -> int:
        return len(self._runs)

    def _keep(self) -> None:
        use_reserve()
        every = settings().renew_s
        following = time.monotonic() + every
        while True:
            # Deadlines are looked at often, leases are renewed every RENEW_S.
            time.sleep(min(0.25, every))
            if time.monotonic() >= following:
                following = time.monotonic() + every
                self._guarded(self.renew)
            self._guarded(self._end_overdue)

    def _guarded(self, part: Callable[[], None]) -> None:
        """Neither part may stop the thread, nor keep the other from its turn."""
        try:
            part()
        except LedgerUnavailable as error:
            log.warning("keeper.ledger_away", error=str(error))
        except Exception:
            log.exception("keeper.failed")

    def renew(self) -> None:
        """Extend every lease, one statement for each length of lease."""
        runs = [run for run in self.running() if not run.lost]
        for lease_s in {run.lease_s for run in runs}:
            group = {run.pair: run for run in runs if run.lease_s == lease_s}
            for pair in claims.renew(group.keys(), lease_s):
                # It stays here until it ends: its slot is taken, and its time-out still holds.
                group[pair].lost = True
                log.warning("job.claim_lost", job_id=pair[0], epoch=pair[1])

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for run in self.running():
            if now >= run.deadline and not run.timed_out and self.on_timeout is not None:
                # Only once it is written: a ledger that is away is asked again at the next look.
                self.on_timeout(run)
                run.timed_out = True


_keeper: Keeper | None = None
_lock = threading.Lock()


def keeper() -> Keeper:
    """The process's keeper; a worker puts its own in place with `use`."""
    global _keeper
    if _keeper is None:
        with _lock:
            if _keeper is None:
                from celadon.run import end_timed_out

                _keeper = Keeper(on_timeout=end_timed_out)
    return _keeper


def use(another: Keeper | None) -> None:
    global _keeper
    _keeper = another


def _after_fork() -> None:
    # The renewing thread stayed in the parent, and so did the runs.
    global _keeper, _lock
    _keeper, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
