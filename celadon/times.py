"""Times and durations as callers give them, checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celadon.errors import InvalidOption

LONGEST_S = 10 * 365 * 86400  # Ten years: more is a mistake in the unit.


def seconds(what: str, value: timedelta | float | None) -> float | None:
    """A duration in seconds. Raises InvalidOption."""
    if value is None:
        return None
    length = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= length <= LONGEST_S:
        raise InvalidOption(f"{what}={value}: from 0 s to ten years are allowed")
    return length


def instant(what: str, value: datetime | None) -> datetime | None:
    """An aware time that both databases can hold, in UTC. Raises InvalidOption."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidOption(f"{what}={value.isoformat()} has no time zone; give an aware datetime, for example in UTC")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or utc.year < 1970:
        raise InvalidOption(f"{what}={value.isoformat()}: the years 1970 to 9999 are allowed")
    return utc
