"""Many jobs at a glance, newest first, a page at a time.

Each page is read by index alone, however many jobs there are: for each state the newest few that fit, put in order. A
page begins right after the last job of the one before, by time and id; so jobs that are submitted meanwhile shift
nothing, and none is shown twice. The time is when the ledger stored the job, for an adopted message too, whose id is
another application's and says nothing of time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select, union_all

from celadon.errors import InvalidOption
from celadon.jobs import JobSummary
from celadon.ledger.db import reading
from celadon.ledger.tables import jobs
from celadon.registry import storable
from celadon.states import State
from celadon.times import instant

MAX_LIMIT = 200  # Jobs a page: some 100 kB of JSON.
_FIELDS = (
    "id",
    "name",
    "queue",
    "priority",
    "tenant",
    "attempt",
    "max_attempts",
    "engine",
    "created_at",
    "run_at",
    "started_at",
    "finished_at",
)
_COLUMNS = [jobs.c[name] for name in (*_FIELDS, "state", "error_kind", "error_message", "error_fingerprint")]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """Some jobs, and where the next page begins."""

    jobs: tuple[JobSummary, ...]
    next: str | None  # None: these were the last.


def list_jobs(
    *,
    states: Collection[str] = (),
    name: str | None = None,
    queue: str | None = None,
    tenant: str | None = None,
    error: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    limit: int = 50,
    after: str | None = None,
) -> JobPage:
    """Jobs that fit all that is given, newest first.

    states: any of these (none given: any at all). error: the fingerprint of failures of one cause, as a job's `error`
    tells it. created_after: stored then or later; created_before: earlier than that; both aware times. limit: 1 to
    200. after: the `next` of the page before.

    Raises InvalidOption, LedgerUnavailable.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidOption(f"limit={limit}: 1 to {MAX_LIMIT} jobs a page", option="limit")
    wanted = []
    for what, column, value in (
        ("name", jobs.c.name, name),
        ("queue", jobs.c.queue, queue),
        ("tenant", jobs.c.tenant, tenant),
        ("error", jobs.c.error_fingerprint, error),
    ):
        if value is not None and not storable(value):
            raise InvalidOption(f"{what}={value[:40]!r}: 1 to 200 characters, none of them NUL", option=what)
        if value is not None:
            wanted.append(column == value)
    if (since := instant("created_after", created_after)) is not None:
        wanted.append(jobs.c.created_at >= since)
    if (until := instant("created_before", created_before)) is not None:
        wanted.append(jobs.c.created_at < until)
    if after is not None:
        wanted.append(_older_than(*_place(after)))
    # One more than asked for tells whether there is a next page.
    branches = [_newest(state, wanted, limit + 1) for state in _known(states) or State]
    found = union_all(*branches).subquery()
    newest = select(found).order_by(found.c.created_at.desc(), found.c.id.desc()).limit(limit + 1)
    with reading() as connection:
        rows = connection.execute(newest).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return JobPage(jobs=tuple(map(_summary, shown)), next=_cursor(shown[-1]) if more else None)


def _known(states: Collection[str]) -> list[State]:
    wrong = sorted(set(states) - set(State))
    if wrong:
        raise InvalidOption(f"state={wrong[0][:40]!r}: one of {', '.join(State)}", option="states")
    return [State(state) for state in dict.fromkeys(states)]


def _newest(state: State, wanted: list[Any], count: int) -> Select[Any]:
    """The newest of one state: the front of a range of an index that ends in (state, created_at)."""
    of_state = select(*_COLUMNS).where(jobs.c.state == state, *wanted)
    return select(of_state.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(count).subquery())


def _older_than(created_at: datetime, job_id: str) -> Any:
    # Not a comparison of rows, for the first half alone is a range of the index.
    return and_(jobs.c.created_at <= created_at, or_(jobs.c.created_at < created_at, jobs.c.id < job_id))


def _cursor(row: Any) -> str:
    text = json.dumps([row.created_at.isoformat(), row.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    """Where a page begins. Raises InvalidOption for what is no `next` of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, job_id = json.loads(text)
        if not storable(job_id):
            raise ValueError("no job's id")
        if instant("after", when := datetime.fromisoformat(created_at)) != when:
            raise ValueError("no time that the ledger holds")
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidOption) as error:
        raise InvalidOption(
            f"after={cursor[:40]!r} is no cursor; give the `next` of a page as it is", option="after"
        ) from error
    return when, job_id


def _summary(row: Any) -> JobSummary:
    error = None
    if row.error_kind:
        error = {"kind": row.error_kind, "message": row.error_message or "", "fingerprint": row.error_fingerprint}
    return JobSummary(**{name: getattr(row, name) for name in _FIELDS}, state=State(row.state), error=error)
