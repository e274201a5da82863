"""Waiting for something to become so: look again and again until a deadline, and say what was awaited."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The pause between two looks, in seconds: short enough not to show in a test's time, long enough to leave the
# two cores to the processes that are being waited for.
PAUSE_S = 0.02


def eventually(what: str, look: Callable[[], T], within: float = 10.0) -> T:
    """Return the first true-ish value of `look()`.

    Args:
        what: the awaited event in words, for the failure's message.
        look: called every 20 ms; an exception of its own ends the wait at once.
        within: the deadline in seconds, 10 by default.

    Raises:
        AssertionError: the deadline passed; the message carries the last value seen.
    """
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what} (last seen: {seen!r})")
        time.sleep(PAUSE_S)
