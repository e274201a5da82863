"""The fallback engine: the submitting process runs the job itself, claiming it like any worker."""

from __future__ import annotations

import os
import socket
import threading

from celadon.run import Ran, Runner, run_job
from celadon.settings import settings

_slots: threading.BoundedSemaphore | None = None
_lock = threading.Lock()


def _semaphore() -> threading.BoundedSemaphore | None:
    global _slots
    with _lock:
        if _slots is None and settings().inline_concurrency:
            _slots = threading.BoundedSemaphore(settings().inline_concurrency)
        return _slots


def reset() -> None:
    """New slots: after a fork, where those taken belong to the parent's runs."""
    global _slots, _lock
    _slots, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=reset)


def run_inline(job_id: str, queue: str) -> Ran | None:
    """Run a job here and now, within the budget. None: as many as allowed are running already."""
    slots = _semaphore()
    if slots is None or not slots.acquire(blocking=False):
        return None
    try:
        runner = Runner(
            worker=f"inline@{socket.gethostname()}:{os.getpid()}",
            engine="inline",
            budget_s=settings().inline_budget_s,
        )
        return run_job(job_id, runner, queue=queue)
    finally:
        slots.release()
