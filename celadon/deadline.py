"""Asking the ledger with a strict limit: a database that hangs must not hang a web request.

Drivers can't bound a COMMIT to a peer that stopped answering, so the asking is done on a helper thread and given up
when the time is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from celadon.errors import LedgerUnavailable
from celadon.settings import settings

T = TypeVar("T")


class Abandoned:
    """Set when nobody waits any more; the work looks at it before it commits."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self._event.is_set():
            raise LedgerUnavailable("given up by its caller")


_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(settings().ledger_pool, thread_name_prefix="celadon-ledger")
        return _pool


def reset() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=reset)


def within(seconds: float, work: Callable[[Abandoned], T], *, job_id: str) -> T:
    """`work`'s result. Raises LedgerUnavailable, which carries the job's id, if it takes longer than `seconds`.

    Not promised: a COMMIT that was under way when the time ran out may still have happened. Ask for the id.
    """
    abandoned = Abandoned()
    future = _executor().submit(work, abandoned)
    try:
        return future.result(timeout=seconds)
    except FutureTimeout as error:
        abandoned.set()
        future.cancel()
        raise LedgerUnavailable(
            f"The ledger did not answer within {seconds:g} s; nothing was accepted, unless job {job_id} can be found",
            job_id=job_id,
        ) from error
    except LedgerUnavailable as error:
        error.job_id = job_id
        raise
