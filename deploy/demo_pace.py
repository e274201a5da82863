"""Makes an order take its time, and notes when each begins and ends, so that `make demo-limits` can count.

All processes of that demo import this (see `demo_limits_config.py`). The note of a beginning is the first thing that an
order's job does.
"""

from __future__ import annotations

import os
import time
from typing import Any

from deploy.demo_signals import LIMITS_HISTORY
from services.orders import workflow

TAKES_S = 1.5  # As with a slow mail server: long enough to see several at work.

_process = workflow.process


def _noted(order_id: str, **how: Any) -> dict[str, object]:
    _note("begin", order_id)
    try:
        time.sleep(TAKES_S)
        return _process(order_id, **how)
    finally:
        _note("end", order_id)


def _note(what: str, order_id: str) -> None:
    # One short write to a file opened for appending stays whole among those of other processes.
    with LIMITS_HISTORY.open("a") as history:
        history.write(f"{time.monotonic():.4f} {os.getpid()} {what} {order_id}\n")


workflow.process = _noted
