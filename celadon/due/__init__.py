"""Due times as pure functions of a rule and an instant: whoever asks, and whenever, gets the same ones.

A rule is JSON, made by `celadon.due.rules`: `{"crontab": {five fields}, "timezone": "Europe/Berlin"}` (UTC without a
zone), `{"every_s": 90.0}`, or `{"at": "2026-12-01T08:00:00+00:00"}`. Due times are whole milliseconds, which is what
every database keeps, and strictly increasing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celadon.due.crontabs import parsed
from celadon.times import LAST

ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)  # Intervals are counted from here, so that all schedulers agree.
LEAST = timedelta(milliseconds=1)  # From one due time to another.

Rule = Mapping[str, Any]


def following(rule: Rule, after: datetime) -> datetime | None:
    """The first due time later than `after`; None: there is none any more."""
    if "every_s" in rule:
        every = timedelta(seconds=rule["every_s"])
        passed = ((after - ORIGIN) // every + 1) * every
        return ORIGIN + passed if passed <= LAST - ORIGIN else None
    if "at" in rule:
        once = datetime.fromisoformat(rule["at"])
        return once if once > after else None
    return parsed(rule).following(after)


def latest(rule: Rule, now: datetime) -> datetime | None:
    """The last due time that is not after `now`; None: there was none yet."""
    if "every_s" in rule:
        every = timedelta(seconds=rule["every_s"])
        return ORIGIN + (now - ORIGIN) // every * every
    if "at" in rule:
        once = datetime.fromisoformat(rule["at"])
        return once if once <= now else None
    return parsed(rule).latest(now)


def last(rule: Rule, since: datetime, now: datetime, most: int) -> list[datetime]:
    """The latest due times from `since` to `now`, both included, at most so many; the oldest first."""
    found: list[datetime] = []
    due = latest(rule, now)
    while due is not None and due >= since and len(found) < most:
        found.append(due)
        due = latest(rule, due - LEAST)
    return found[::-1]


def within(
    rule: Rule, after: datetime, starts_at: datetime | None = None, ends_at: datetime | None = None
) -> datetime | None:
    """The first due time later than `after`, not before `starts_at` and not after `ends_at`."""
    if starts_at is not None:
        after = max(after, starts_at - LEAST)
    due = following(rule, after)
    return None if due is None or (ends_at is not None and due > ends_at) else due


def preview(rule: Rule, after: datetime, count: int, ends_at: datetime | None = None) -> list[datetime]:
    """The due times that follow `after`, at most `count` and none after `ends_at`."""
    found: list[datetime] = []
    due = within(rule, after, None, ends_at)
    while due is not None and len(found) < count:
        found.append(due)
        due = within(rule, due, None, ends_at)
    return found


def jitter(name: str, due: datetime, jitter_s: float) -> timedelta:
    """How long after a due time its job runs: from nothing to less than `jitter_s`, spread evenly, in milliseconds.

    The same schedule and due time give the same, wherever it is asked.
    """
    drawn = hashlib.sha256(f"{name}\0{due.astimezone(UTC).isoformat()}".encode()).digest()
    share = int.from_bytes(drawn[:6], "big") / 2**48
    return share * jitter_s * 1000 // 1 * LEAST
