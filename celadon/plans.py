"""What a schedule may be: checked before anything is written, whoever says it, the operator's file or a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from celadon import due, registry
from celadon.errors import InvalidOption
from celadon.jobs import NewJob
from celadon.ledger.schedules import Entry
from celadon.queues import operators_file
from celadon.registry import storable
from celadon.submit import prepare
from celadon.times import instant, seconds

MISSED = ("skip", "latest", "all")
OVERLAP = ("allow", "skip", "queue", "replace")
ACTIONS = ("pause", "resume", "run-now", "preview")  # What is done to a schedule: ends its address in the API.
MOST_MISSED = 1000  # Jobs that one schedule may be made up for with, one after another: more is a flood.


def entry(
    name: str,
    job: str,
    rule: Mapping[str, Any],
    *,
    payload: Mapping[str, Any] | None = None,
    queue: str | None = None,
    missed: str = "latest",
    missed_max: int = 10,
    overlap: str = "allow",
    jitter_s: float = 0.0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> Entry:
    """A schedule that can be kept. Raises InvalidOption, UnknownJob, UnknownQueue, InvalidPayload, PayloadTooLarge."""
    if not isinstance(name, str) or not storable(name):
        raise InvalidOption(
            f"name={str(name)[:40]!r}: 1 to 200 characters are allowed, none of them NUL", option="name"
        )
    if name.endswith(tuple(f"/{action}" for action in ACTIONS)):
        raise InvalidOption(
            f"name={name[-40:]!r}: a name can't end with what is done to schedules over HTTP: "
            + ", ".join(f"/{action}" for action in ACTIONS),
            option="name",
        )
    starts_at, ends_at = _moment("starts_at", starts_at), _moment("ends_at", ends_at)
    made = Entry(
        name=name,
        job=job,
        spec=rule,
        payload=job_of(job, payload or {}, queue).payload,
        queue=queue,
        missed=_one_of("missed", missed, MISSED),
        missed_max=missed_max,
        overlap=_one_of("overlap", overlap, OVERLAP),
        jitter_s=seconds("jitter_s", jitter_s) or 0.0,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    _check_together(made)
    return made


def job_of(job: str, payload: Mapping[str, Any], queue: str | None) -> NewJob:
    """A job of a schedule as it would be stored now, with its times still to be told. Raises as `submit`."""
    definition = registry.get(job)
    return prepare(
        definition,
        payload,
        key=None,
        run_at=None,
        delay=None,
        expires_in=None,
        queue=queue or definition.queue_of(delayed=True),
        priority=None,
        tenant=None,
    )


def default_timezone() -> str | None:
    """Whose wall clock crontabs are kept by that name no zone: `celeryconfig.timezone`, as with Celery."""
    zone: str | None = getattr(operators_file(), "timezone", None)
    return zone


def _check_together(made: Entry) -> None:
    """Raises InvalidOption for values that can't be meant together."""
    if (
        not isinstance(made.missed_max, int)
        or isinstance(made.missed_max, bool)
        or not (1 <= made.missed_max <= MOST_MISSED)
    ):
        raise InvalidOption(f"missed_max={made.missed_max!r}: 1 to {MOST_MISSED} are allowed", option="missed_max")
    if made.missed == "all" and made.overlap in ("skip", "replace"):
        raise InvalidOption(
            f"missed='all' makes up for each due time, and overlap={made.overlap!r} would keep all but one of its "
            "jobs from running: take missed='latest', or overlap='queue' or 'allow'",
            option="overlap",
        )
    if made.starts_at is not None and made.ends_at is not None and made.ends_at < made.starts_at:
        raise InvalidOption(
            f"ends_at={made.ends_at.isoformat()} is before starts_at={made.starts_at.isoformat()}", option="ends_at"
        )
    if made.starts_at is not None and due.within(made.spec, due.ORIGIN, made.starts_at, made.ends_at) is None:
        raise InvalidOption(
            f"starts_at={made.starts_at.isoformat()}: no due time comes from then on"
            + ("" if made.ends_at is None else f" until ends_at={made.ends_at.isoformat()}"),
            option="starts_at",
        )


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidOption(f"{what}={value!r}: one of {', '.join(allowed)}", option=what)
    return value


def _moment(what: str, value: datetime | None) -> datetime | None:
    """An aware time, to the millisecond that both databases keep."""
    if value is not None and not isinstance(value, datetime):
        raise InvalidOption(f"{what}={value!r} is no time; give an aware datetime, for example in UTC", option=what)
    told = instant(what, value)
    return None if told is None else told - timedelta(microseconds=told.microsecond % 1000)
