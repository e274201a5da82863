"""Schedules as people make and turn them: add, edit, pause, resume, run now, remove, preview.

Those that `celeryconfig.beat_schedule` names are changed there; here they can be paused, resumed and run now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from celadon.jobs import as_plain

Missed = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip", "queue", "replace"]
Source = Literal["config", "api"]
Status = Literal["active", "paused", "ended"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView:
    """A schedule as readers see it. Times are aware, in UTC."""

    name: str
    job: str
    rule: Mapping[str, Any]  # {"crontab": {five fields}, "timezone": …} | {"every_s": …} | {"at": …}
    when: str  # The rule in words: "30 2 * * mon-fri Europe/Berlin", "every 90 s", "once at 2026-12-01 08:00:00 UTC".
    payload: Mapping[str, Any] = field(repr=False)
    queue: str | None  # None: the job's own.
    source: Source
    status: Status
    reason: str | None  # Why it is paused.
    missed: Missed
    missed_max: int
    overlap: Overlap
    jitter_s: float
    starts_at: datetime | None
    ends_at: datetime | None
    last_due: datetime  # Up to here its due times are dealt with: fired, or left out by a policy.
    next_due: datetime | None  # None: it is paused, or has ended.
    last_job: str | None  # Whom it fired last; its row may be gone.

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without the payload."""
        facts = asdict(self)
        del facts["payload"]
        made: dict[str, Any] = as_plain(facts)
        return made


def add(
    name: str,
    job: str,
    *,
    payload: Mapping[str, Any] | None = None,
    crontab: str | None = None,
    timezone: str | None = None,
    every: timedelta | float | None = None,
    at: datetime | None = None,
    queue: str | None = None,
    missed: Missed = "latest",
    missed_max: int = 10,
    overlap: Overlap = "allow",
    jitter_s: float = 0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    actor: str = "operator",
) -> ScheduleView:
    """Make a schedule: one of `crontab`, `every` and `at` says when its job is due.

    crontab: "minute hour day-of-month month day-of-week", as Celery reads it (a day has to fit both day fields), kept
    by the wall clock of `timezone` (None: `celeryconfig.timezone`, else UTC). every: seconds or a timedelta, from one
    second, counted from 1970 so that all schedulers agree. at: once.
    payload: of each job. queue: None takes the job's own.
    missed: what becomes of due times at which no scheduler was there: the latest is made up for, or nothing that passed
    more than a minute ago (`skip`), or each, but only the latest `missed_max` (`all`).
    overlap: what happens if the previous job has not ended: nothing (`allow`), this time is left out (`skip`), it waits
    for its end (`queue`), or asks it to cancel and then runs (`replace`).
    jitter_s: each due time is run up to so many seconds later, always the same for the same time.
    starts_at, ends_at: no due time is before or after them.

    Raises InvalidOption, UnknownJob, UnknownQueue, InvalidPayload, PayloadTooLarge, NotAllowed (the name is taken):
    nothing was written. LedgerUnavailable.
    """
    raise NotImplementedError


def edit(name: str, *, actor: str = "operator", **changes: Any) -> ScheduleView:
    """Change what `add` takes, by the same names; what is not named stays.

    With another rule, beginning or end it counts from now on: what came due before is not made up for. A crontab keeps
    its time zone unless another is named.

    Raises what `add` raises; UnknownSchedule; NotAllowed for one of the configuration.
    """
    raise NotImplementedError


def pause(name: str, *, reason: str | None = None, actor: str = "operator") -> ScheduleView:
    """Fire nothing until it is resumed. Again is no error: the reason is then the new one. Raises UnknownSchedule."""
    raise NotImplementedError


def resume(name: str, *, actor: str = "operator") -> ScheduleView:
    """Go on with the next due time; what came due during the pause was not missed. Raises UnknownSchedule."""
    raise NotImplementedError


def run_now(name: str, *, actor: str = "operator") -> str:
    """Run its job once, now, beside its due times, also when it is paused or has ended. Returns the job's id.

    Raises UnknownSchedule, UnknownJob, InvalidPayload; NotAllowed if the previous job has not ended and `overlap` is
    not `allow`.
    """
    raise NotImplementedError


def remove(name: str, *, actor: str = "operator") -> None:
    """Remove it; jobs that it fired stay. Raises UnknownSchedule; NotAllowed for one of the configuration."""
    raise NotImplementedError


def every() -> list[ScheduleView]:
    """All schedules, by name. Raises LedgerUnavailable."""
    raise NotImplementedError


def find(name: str) -> ScheduleView:
    """One schedule. Raises UnknownSchedule, LedgerUnavailable."""
    raise NotImplementedError


def preview(name: str, count: int = 10) -> list[datetime]:
    """Its next due times, in UTC and without jitter; of a paused one those it would have if it were resumed now.

    Fewer than `count` when it ends before. Raises UnknownSchedule, LedgerUnavailable.
    """
    raise NotImplementedError
