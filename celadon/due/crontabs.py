"""Crontabs by the wall clock of a zone, also on the days when clocks are changed.

A crontab that names hours is kept by the wall clock: a time that the change leaves out is due as soon as the clock has
jumped over it, and one that comes twice is due the first time. One for every hour goes by the time that passes: it is
due whenever the clock shows its minute, in both passes of an hour that comes twice, and nothing is made up for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
# From one 29 February that is a given weekday to the next are 40 years at most, over a year like 2100 that has none.
SEARCH_DAYS = 41 * 366


@dataclass(frozen=True, slots=True)
class Crontab:
    """A crontab in numbers. A day has to fit both its day of the month and its day of the week, as with Celery."""

    zone: ZoneInfo
    seconds: tuple[int, ...]  # Of the day, by the wall clock, in order.
    every_hour: bool
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday.

    def following(self, after: datetime) -> datetime | None:
        """The first due time later than `after`."""
        # The day before, too: where clocks go back over midnight, its last hour comes again after it has ended.
        for day in self._days(after.astimezone(self.zone).date() - DAY, 1):
            due = self._first_after(after, day)
            if due is not None:
                other = self._first_after(after, day + DAY) if self._fits(day + DAY) else None
                return due if other is None else min(due, other)
        return None

    def latest(self, now: datetime) -> datetime | None:
        """The last due time that is not after `now`."""
        for day in self._days(now.astimezone(self.zone).date() + DAY, -1):
            due = self._last_by(now, day)
            if due is not None:
                other = self._last_by(now, day - DAY) if self._fits(day - DAY) else None
                return due if other is None else max(due, other)
        return None

    def _first_after(self, after: datetime, day: date) -> datetime | None:
        start, seconds = self._due_on(day)
        index = bisect_right(seconds, (after - start) / SECOND)
        return start + seconds[index] * SECOND if index < len(seconds) else None

    def _last_by(self, now: datetime, day: date) -> datetime | None:
        start, seconds = self._due_on(day)
        index = bisect_right(seconds, (now - start) / SECOND)
        return start + seconds[index - 1] * SECOND if index else None

    def _days(self, first: date, step: int) -> Iterator[date]:
        """The days that fit, from `first` on or back."""
        last = date.max.toordinal() - 3  # Beyond, the zones' own arithmetic would leave the calendar.
        ordinal = min(first.toordinal(), last)
        end = min(max(ordinal + step * SEARCH_DAYS, 3), last)
        return (day for day in map(date.fromordinal, range(ordinal, end, step)) if self._fits(day))

    def _fits(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _due_on(self, day: date) -> tuple[datetime, Sequence[int]]:
        """The day's beginning, and its due times in seconds from there."""
        midnight = datetime.combine(day, time(), self.zone)
        start = midnight.astimezone(UTC)
        if midnight.utcoffset() == datetime.combine(day + DAY, time(fold=1), self.zone).utcoffset():
            return start, self.seconds
        # A day on which clocks are changed.
        instants = {due for seconds in self.seconds for due in self._instants(midnight + seconds * SECOND)}
        return start, sorted((due - start) // SECOND for due in instants)

    def _instants(self, shown: datetime) -> list[datetime]:
        """When it is due by a time that the wall clock shows once, twice, or not at all."""
        first = shown.replace(fold=0).astimezone(UTC)
        second = shown.replace(fold=1).astimezone(UTC)
        if first == second:
            return [first]
        if first < second:
            return [first, second] if self.every_hour else [first]
        return [] if self.every_hour else [self._changed_between(second, first)]

    def _changed_between(self, before: datetime, after: datetime) -> datetime:
        """The instant at which the zone's clocks are changed, which is a whole second."""
        old = before.astimezone(self.zone).utcoffset()
        ahead = range((after - before) // SECOND + 1)
        changed = bisect_left(
            ahead, True, key=lambda seconds: (before + seconds * SECOND).astimezone(self.zone).utcoffset() != old
        )
        return before + changed * SECOND


def parsed(rule: Mapping[str, Any]) -> Crontab:
    """The crontab of a rule. Raises ValueError or TypeError for fields that Celery can't read."""
    return _parsed(tuple(sorted(rule["crontab"].items())), rule.get("timezone", "UTC"))


@lru_cache(maxsize=4096)
def _parsed(fields: tuple[tuple[str, str], ...], timezone: str) -> Crontab:
    told = crontab(**dict(fields))
    return Crontab(
        zone=ZoneInfo(timezone),
        seconds=tuple(sorted(hour * 3600 + minute * 60 for hour in told.hour for minute in told.minute)),
        every_hour=len(told.hour) == 24,
        days=frozenset(told.day_of_month),
        months=frozenset(told.month_of_year),
        weekdays=frozenset(told.day_of_week),
    )
