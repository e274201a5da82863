"""`Retry-After`: when an endpoint asks to be tried again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Sooner would be no pause, later is more likely a mistake than meant.
LEAST_S, MOST_S = 1.0, 3600.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, within bounds; None: it is not said, or not in words that HTTP knows.

    A date is compared with the answer's own `Date`, so that no two hosts' clocks are, where it has one.
    """
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        seconds = float(told[:10])
    else:
        until = _date(told)
        if until is None:
            return None
        seconds = (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, LEAST_S), MOST_S)


def _date(text: str) -> datetime | None:
    try:
        made = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made
