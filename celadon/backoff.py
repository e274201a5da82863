"""How long to wait before the next try."""

from __future__ import annotations

import random
from datetime import timedelta

JITTER = 0.2  # Up to a fifth longer, so that jobs that failed together do not come back together.


def delay_s(failed: int, first: timedelta, cap: timedelta) -> float:
    """Seconds until the next try after `failed` (1 or more) failed ones: `first`, doubled each time, at most `cap`."""
    wait: float = min(first.total_seconds() * 2 ** min(failed - 1, 40), cap.total_seconds())
    return min(wait * (1 + random.random() * JITTER), cap.total_seconds())
