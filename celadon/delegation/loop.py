"""The one event loop of the process, in a thread of its own: it waits for all answers, each slot for its own one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
# Of a parent. Its selector and its sockets are the parent's: neither used nor closed here, only kept from the garbage
# collector.
_inherited: list[asyncio.AbstractEventLoop] = []


def loop() -> asyncio.AbstractEventLoop:
    """The process's loop, begun at the first call and again after a fork."""
    global _loop
    if _loop is None:
        with _lock:
            if _loop is None:
                made = asyncio.new_event_loop()
                threading.Thread(target=made.run_forever, name="celadon-deliveries", daemon=True).start()
                _loop = made
    return _loop


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop; this thread waits for what it returns or raises."""
    return asyncio.run_coroutine_threadsafe(work, loop()).result()


def _after_fork() -> None:
    global _lock, _loop
    _lock = threading.Lock()
    if _loop is not None:
        _inherited.append(_loop)
        _loop = None


os.register_at_fork(after_in_child=_after_fork)
