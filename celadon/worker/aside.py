"""Slots stand aside: they begin no other job while an exclusive suspect has its worker to itself, or is about to.

Only so can it be said who did it if the whole worker dies. No lane stands still for that for long: what runs gets
PATIENCE_S to end, and an exclusive job that takes longer than HOLD_S goes on beside others. If the worker dies then,
the ledger sees that others were in it, and convicts nobody.

The flag is a byte of shared memory made before any fork, so that the children of a prefork worker see it too.
"""

from __future__ import annotations

import mmap
import time

from celadon import drain

PATIENCE_S = 30.0
HOLD_S = 60.0
LOOK_S = 0.05

_flag = mmap.mmap(-1, 1)


def ask(wanted: bool) -> None:
    """Have the slots stand aside from now on, or no longer."""
    _flag[0] = wanted


def asked() -> bool:
    return _flag[0] == 1


def stand() -> None:
    """Return as soon as this slot may begin a job: at once, nearly always."""
    until = time.monotonic() + PATIENCE_S + HOLD_S
    while asked() and not drain.draining() and time.monotonic() < until:
        time.sleep(LOOK_S)
