"""Due times as pure functions of a rule and an instant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule

from celadon.errors import CeladonError

_FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
_ORIGINS = ("_orig_minute", "_orig_hour", "_orig_day_of_week", "_orig_day_of_month", "_orig_month_of_year")


def rule_of(name: str, given: Any) -> dict[str, Any]:
    """The JSON form of what `beat_schedule` says: crontab(…), a timedelta, or seconds. Raises CeladonError."""
    if isinstance(given, crontab):
        return {
            "crontab": {field: str(getattr(given, origin)) for field, origin in zip(_FIELDS, _ORIGINS, strict=True)}
        }
    if isinstance(given, schedule):
        given = given.run_every
    every_s = given.total_seconds() if isinstance(given, timedelta) else given
    if not isinstance(every_s, (int, float)) or isinstance(every_s, bool) or every_s < 1:
        raise CeladonError(f"beat_schedule[{name!r}]: {given!r} is no crontab(…), and no interval of at least 1 s")
    return {"every_s": float(every_s)}


def latest(rule: Mapping[str, Any], first: datetime, now: datetime) -> datetime:
    """The last due time that is not after `now`; `first` is one of them."""
    if "every_s" in rule:
        every = timedelta(seconds=rule["every_s"])
        return first + (now - first) // every * every
    due = first
    # From as near to now as a due time is found, so that a long absence is not walked through minute by minute.
    for back_s in (3600, 86400, 31 * 86400, 366 * 86400):
        near = now - timedelta(seconds=back_s)
        if near > first and (candidate := following(rule, near)) <= now:
            due = candidate
            break
    while (after := following(rule, due)) <= now:
        due = after
    return due


def following(rule: Mapping[str, Any], after: datetime) -> datetime:
    """The first due time later than `after`. Intervals are aligned: every Beat computes the same instants."""
    if "every_s" in rule:
        every = timedelta(seconds=rule["every_s"])
        origin = datetime(1970, 1, 1, tzinfo=UTC)
        return origin + ((after - origin) // every + 1) * every
    rule_times = crontab(**rule["crontab"], nowfun=lambda: after)
    last, delta, _ = rule_times.remaining_delta(after, tz=UTC)
    due: datetime = last + delta
    return due.astimezone(UTC)
