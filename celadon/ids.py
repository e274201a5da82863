"""UUIDv7 (RFC 9562): ids that sort by the time they were made, and within a process by the order they were made in."""

from __future__ import annotations

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A new job id: 48 bits of Unix milliseconds, then version, variant and 74 random bits.

    A second id of the same millisecond is the first one's plus a random step (RFC 9562, method 2), so "oldest first"
    holds for jobs submitted in a burst too.
    """
    global _last
    with _lock:
        value = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10), "big") >> 6
        if value >> 74 <= _last >> 74:
            value = _last + 1 + int.from_bytes(os.urandom(4), "big")
        _last = value
    high, low = value >> 62, value & (1 << 62) - 1
    return str(uuid.UUID(int=(high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | low))


def _after_fork() -> None:
    global _lock, _last
    _lock, _last = threading.Lock(), 0


os.register_at_fork(after_in_child=_after_fork)
