"""What a submitter has to know of the world, remembered for a second so that it costs a request nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from celadon.deadline import within
from celadon.errors import LedgerUnavailable
from celadon.ledger import presence, sending, switches
from celadon.settings import settings

T = TypeVar("T")
FRESH_S = 1.0  # How old an answer may be: a switch that is turned works everywhere within it.


class Remembered(Generic[T]):
    """A value read at most once per FRESH_S. If it can't be read, the last one stands."""

    def __init__(self, read: Callable[[], T], first: T) -> None:
        self._read, self._value, self._until = read, first, 0.0
        self._lock = threading.Lock()

    def get(self) -> T:
        # Only the first read is waited for; later one thread reads while the others take what is known.
        if time.monotonic() >= self._until and self._lock.acquire(blocking=self._until == 0.0):
            try:
                if time.monotonic() >= self._until:
                    self._value = within(settings().ledger_timeout_s, lambda _: self._read(), job_id="")
            except LedgerUnavailable:
                pass
            finally:
                self._until = time.monotonic() + FRESH_S
                self._lock.release()
        return self._value

    def forget(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()


_off: Remembered[set[tuple[str, str]]] = Remembered(switches.off_broker, set())
_workers: Remembered[Sequence[presence.Worker]] = Remembered(presence.alive, ())


def forget() -> None:
    _off.forget()
    _workers.forget()


os.register_at_fork(after_in_child=forget)


def switched_off(queue: str, name: str) -> bool:
    """An operator took the queue or the job off the broker."""
    off = _off.get()
    return ("queue", queue) in off or ("job", name) in off


def capacity(queue: str, name: str) -> int:
    """Slots of live workers that consume the queue and know the job; 0: nobody does."""
    return sum(one.concurrency for one in _workers.get() if queue in one.queues and name in one.tasks)


def backlog(queue: str, most: int) -> int:
    """Jobs queued before a new one, counted no further than a little over `most`."""
    return max(0, sending.depth(queue, most + 2) - 1)
