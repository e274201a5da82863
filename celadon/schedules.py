"""Schedules as people make and turn them: add, edit, pause, resume, run now, remove, preview.

Those that `celeryconfig.beat_schedule` names are changed there; here they can be paused, resumed and run now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from celadon import due, plans
from celadon.due import rules
from celadon.errors import InvalidOption, UnknownSchedule
from celadon.jobs import NewJob, as_plain
from celadon.ledger import schedule_changes
from celadon.ledger import schedules as ledger
from celadon.ledger.db import clock, reading
from celadon.ledger.schedules import Entry
from celadon.reasons import checked
from celadon.states import State

MOST_PREVIEWED = 1000
_RULE = ("crontab", "timezone", "every", "at")
_FACTS = (
    "job",
    "payload",
    "queue",
    "missed",
    "missed_max",
    "overlap",
    "jitter_s",
    "starts_at",
    "ends_at",
)

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
    entry = plans.entry(
        name,
        job,
        rule_of({"crontab": crontab, "timezone": timezone, "every": every, "at": at}),
        payload=payload,
        queue=queue,
        missed=missed,
        missed_max=missed_max,
        overlap=overlap,
        jitter_s=jitter_s,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return _seen(schedule_changes.add(entry, actor))


def edit(name: str, *, actor: str = "operator", **changes: Any) -> ScheduleView:
    """Change what `add` takes, by the same names; what is not named stays.

    With another rule, beginning or end it counts from now on: what came due before is not made up for. A crontab keeps
    its time zone unless another is named.

    Raises what `add` raises; UnknownSchedule; NotAllowed for one of the configuration.
    """
    unknown = sorted(set(changes) - {*_RULE, *_FACTS})
    if unknown:
        raise InvalidOption(f"{', '.join(unknown)} can't be changed; there are: {', '.join((*_FACTS, *_RULE))}")

    def made(row: Any, now: datetime) -> dict[str, Any]:
        schedule_changes.own(row)
        old = ledger.entry_of(row)
        facts = {fact: changes.get(fact, getattr(old, fact)) for fact in _FACTS}
        rule = _changed_rule(old, {part: changes[part] for part in _RULE if part in changes})
        new = plans.entry(name, facts.pop("job"), rule, **facts)
        return new.columns() if new.times == old.times else {**new.columns(), **schedule_changes.anew(new, now)}

    return _seen(schedule_changes.change(name, "edit", actor, made, {"changed": sorted(changes)}))


def pause(name: str, *, reason: str | None = None, actor: str = "operator") -> ScheduleView:
    """Fire nothing until it is resumed. Again is no error: the reason is then the new one.

    reason: shown to whoever looks, up to 200 characters. Raises InvalidOption, UnknownSchedule.
    """
    paused = {"enabled": False, "reason": checked(reason)}
    return _seen(schedule_changes.change(name, "pause", actor, lambda *_: paused, {"reason": reason}))


def resume(name: str, *, actor: str = "operator") -> ScheduleView:
    """Go on with the next due time; what came due during the pause was not missed. Again is no error.

    Raises UnknownSchedule.
    """

    def made(row: Any, now: datetime) -> dict[str, Any]:
        return {} if row.enabled else {"enabled": True, "reason": None, **ledger.entry_of(row).from_now(now)}

    return _seen(schedule_changes.change(name, "resume", actor, made))


def run_now(name: str, *, actor: str = "operator") -> str:
    """Run its job once, now, beside its due times, also when it is paused or has ended. Returns the job's id.

    Raises UnknownSchedule, UnknownJob, InvalidPayload; NotAllowed if the previous job has not ended and `overlap` is
    not `allow`.
    """

    def made(row: Any) -> NewJob:
        # As if due at this moment: the scheduler queues and sends it at its next tick.
        return replace(plans.job_of(row.job, row.payload, row.queue), state=State.SCHEDULED, delay_s=0.0, schedule=name)

    return schedule_changes.run(name, actor, made)


def remove(name: str, *, actor: str = "operator") -> None:
    """Remove it; jobs that it fired stay. Raises UnknownSchedule; NotAllowed for one of the configuration."""
    schedule_changes.remove(name, actor)


def every() -> list[ScheduleView]:
    """All schedules, by name. Raises LedgerUnavailable."""
    return [_seen(row) for row in ledger.every()]


def find(name: str) -> ScheduleView:
    """One schedule. Raises UnknownSchedule, LedgerUnavailable."""
    return _seen(_row(name))


def preview(name: str, count: int = 10) -> list[datetime]:
    """Its next due times, in UTC and without jitter; of a paused one those it would have if it were resumed now.

    A due time that has come and is about to be fired is not told any more.

    Fewer than `count` when it ends before. Raises UnknownSchedule, InvalidOption, LedgerUnavailable.
    """
    if not 1 <= count <= MOST_PREVIEWED:
        raise InvalidOption(f"count={count}: 1 to {MOST_PREVIEWED} are allowed", option="count")
    row = _row(name)
    with reading() as connection:
        now = clock(connection)
    first = row.next_due
    if not row.enabled or (first is not None and first <= now):
        first = due.within(row.spec, now, row.starts_at, row.ends_at)
    return [] if first is None else [first, *due.preview(row.spec, first, count - 1, row.ends_at)]


def _row(name: str) -> Any:
    row = ledger.find(name)
    if row is None:
        raise UnknownSchedule(f"There is no schedule {name[:200]!r}; `celadon schedules list` shows them", name=name)
    return row


def rule_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The rule that one of `crontab`, `every` and `at` tells, for `celadon.due`. Raises InvalidOption."""
    told = {part: given[part] for part in ("crontab", "every", "at") if given.get(part) is not None}
    if len(told) != 1:
        raise InvalidOption(
            f"{' and '.join(told) or 'nothing'} was given; give one of crontab, every and at, to say when it is due"
        )
    ((part, value),) = told.items()
    timezone = given.get("timezone")
    if part == "crontab":
        return rules.from_text(value, timezone or plans.default_timezone())
    if timezone is not None:
        raise InvalidOption(
            f"timezone={timezone!r} is for a crontab; {part}={value!s} does not go by a wall clock", option="timezone"
        )
    return rules.every(value) if part == "every" else rules.once(value)


def _changed_rule(old: Entry, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rule after an edit: a crontab keeps its zone, and a zone its crontab."""
    given = {part: value for part, value in changes.items() if value is not None}
    if not given:
        return old.spec
    if "crontab" in old.spec and set(given) == {"timezone"}:
        return rules.from_fields(old.spec["crontab"], given["timezone"])
    if set(given) == {"timezone"}:
        raise InvalidOption(
            f"timezone={given['timezone']!r} is for a crontab; the schedule is due {rules.in_words(old.spec)}, and "
            "does not go by a wall clock",
            option="timezone",
        )
    if "crontab" in old.spec and "crontab" in given:
        given.setdefault("timezone", old.spec.get("timezone", "UTC"))
    return rule_of(given)


def _seen(row: Any) -> ScheduleView:
    status: Status = "active" if row.enabled else "paused"
    return ScheduleView(
        name=row.name,
        job=row.job,
        rule=row.spec,
        when=rules.in_words(row.spec),
        payload=row.payload,
        queue=row.queue,
        source=row.source,
        status="ended" if row.enabled and row.next_due is None else status,
        reason=row.reason,
        missed=row.missed,
        missed_max=row.missed_max,
        overlap=row.overlap,
        jitter_s=row.jitter_s,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        last_due=row.last_due,
        next_due=row.next_due if row.enabled else None,
        last_job=row.last_job,
    )
