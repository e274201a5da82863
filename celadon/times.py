"""Times and durations as callers give them, checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celadon.errors import InvalidOption

LONGEST_S = 10 * 365 * 86400  # Ten years: more is a mistake in the unit.
# What both databases can hold. Nothing is stored or due outside it, so what is given outside means its nearest end.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def seconds(what: str, value: timedelta | float | None) -> float | None:
    """A duration in seconds. Raises InvalidOption."""
    if value is None:
        return None
    length = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= length <= LONGEST_S:
        raise InvalidOption(f"{what}={value}: from 0 s to ten years are allowed", option=what)
    return length


def instant(what: str, value: datetime | None) -> datetime | None:
    """An aware time as the ledger can hold it. Raises InvalidOption."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidOption(
            f"{what}={value.isoformat()} has no time zone; give an aware datetime, for example in UTC", option=what
        )
    return min(max(value, FIRST), LAST)
