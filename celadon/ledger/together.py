"""Group commit: what many threads of a process write at the same moment is written in one transaction.

A commit costs as much for one row as for twenty: a disk that is synced, SQLite's only write lock, the round trips.
Nobody waits for company. Who finds nobody at it writes at once; those who come meanwhile are written together by the
first of them, as soon as that is over.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from celadon import logs
from celadon.errors import CeladonError, LedgerUnavailable

log = logs.get("celadon.ledger")

A = TypeVar("A")
R = TypeVar("R")

MOST = 100  # Calls that are written together: some ten milliseconds of SQLite's only write lock.
PATIENCE_S = 0.5  # Whoever is at it for longer is not waited for: one call that hangs holds up no other.


class Alone(Exception):
    """In the place of a call's result: it is left to a transaction of its own."""


class _Call(Generic[A, R]):
    __slots__ = ("asked", "result", "settled", "turn")

    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.settled = threading.Event()
        self.turn: int | None = None  # None: somebody else writes it, or will.
        self.result: R | Alone | LedgerUnavailable = Alone()


class Together(Generic[A, R]):
    """A function that many threads call.

    one: does a call in a transaction of its own. many: does several in one, and gives their results in their order,
    `Alone()` for those that it leaves to `one`. What it raises has undone all of it; then each is done by `one` in the
    thread that called, which raises there what concerns it. Only where the database went away, each hears just that.
    """

    _lock: threading.Lock
    _waiting: deque[_Call[A, R]]  # In the order of their coming.
    _turn: int  # Of who is at it now.
    _since: float | None  # When that began; None: nobody is.

    def __init__(self, one: Callable[[A], R], many: Callable[[Sequence[A]], Sequence[R | Alone]]) -> None:
        self._one, self._many = one, many
        self._forget()
        _all.add(self)

    def __call__(self, asked: A) -> R:
        call: _Call[A, R] = _Call(asked)
        with self._lock:
            if self._since is None:
                self._begin(call)
            else:
                self._waiting.append(call)
        try:
            self._wait(call)
        except BaseException:  # The thread is interrupted: nobody may wait for it.
            with self._lock:
                if call in self._waiting:
                    self._waiting.remove(call)
            if call.turn is not None:
                self._hand_on(call.turn)
            raise
        return self._result(call) if call.turn is None else self._lead(call, call.turn)

    def _wait(self, call: _Call[A, R]) -> None:
        """Until it is written, or has the turn."""
        while call.turn is None and not call.settled.wait(PATIENCE_S):
            with self._lock:
                if call in self._waiting and self._since is not None and time.monotonic() - self._since > PATIENCE_S:
                    self._waiting.remove(call)
                    self._begin(call)

    def _begin(self, call: _Call[A, R]) -> None:
        self._turn, self._since = self._turn + 1, time.monotonic()
        call.turn = self._turn

    def _lead(self, first: _Call[A, R], turn: int) -> R:
        company: list[_Call[A, R]] = []
        try:
            with self._lock:
                while self._waiting and len(company) < MOST - 1:
                    company.append(self._waiting.popleft())
            if not company:
                return self._one(first.asked)
            self._write([first, *company])
        finally:
            for call in company:
                call.settled.set()
            self._hand_on(turn)
        return self._result(first)

    def _write(self, group: Sequence[_Call[A, R]]) -> None:
        try:
            results = self._many([call.asked for call in group])
        except LedgerUnavailable as away:
            if away.__cause__ is not None:
                # The database's own word: whether it has committed, nobody knows. So it may not be done again here.
                for call in group:
                    call.result = LedgerUnavailable(str(away))
        except (CeladonError, DBAPIError) as error:
            log.debug("ledger.not_together", calls=len(group), reason=str(error))
        except Exception:
            log.exception("ledger.not_together", calls=len(group))
        else:
            for call, result in zip(group, results, strict=True):
                call.result = result

    def _hand_on(self, turn: int) -> None:
        with self._lock:
            if turn != self._turn:
                return  # Somebody did not wait for it.
            following, self._since = self._waiting.popleft() if self._waiting else None, None
            if following is not None:
                self._begin(following)
        if following is not None:
            following.settled.set()

    def _result(self, call: _Call[A, R]) -> R:
        if isinstance(call.result, LedgerUnavailable):
            raise call.result
        return self._one(call.asked) if isinstance(call.result, Alone) else call.result

    def _forget(self) -> None:
        self._lock, self._waiting = threading.Lock(), deque()
        self._turn, self._since = 0, None


_all: weakref.WeakSet[Together[Any, Any]] = weakref.WeakSet()


def _after_fork() -> None:
    """The threads that were at it are not in the child."""
    for each in list(_all):
        each._forget()


os.register_at_fork(after_in_child=_after_fork)
