"""What the scheduler has before it, read in one look: a tick with nothing to do writes nothing and waits for nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from celadon.ledger.db import at, by, reading
from celadon.ledger.tables import in_state, jobs
from celadon.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    due: bool  # Some scheduled job is due.
    next_due_s: float | None  # Until the first that is not due yet. None: there is none.
    waiting: bool  # Some job is held.
    parked: bool
    expired: bool  # Some job that has not begun is out of time.


def _first(column: Any, *which: Any) -> Any:
    # In the order of an index, and so by that index. "Does one exist?" may be answered by reading the whole
    # table, where the planner believes that there are many.
    return select(column).where(*which).order_by(column).limit(1).scalar_subquery()


_TO_EXPIRE = in_state(State.SCHEDULED, State.WAITING, State.QUEUED, State.PARKED)
# Built once, as every statement of a busy path.
_LOOK = select(
    at(),
    _first(jobs.c.run_at, in_state(State.SCHEDULED), jobs.c.run_at <= by()),
    _first(jobs.c.run_at, in_state(State.SCHEDULED), jobs.c.run_at > by()),
    _first(jobs.c.created_at, in_state(State.WAITING)),
    _first(jobs.c.created_at, in_state(State.PARKED)),
    _first(jobs.c.expires_at, _TO_EXPIRE, jobs.c.expires_at <= by(), jobs.c.started_at.is_(None)),
)


def look() -> Ahead:
    """What there is to promote, release, unpark and expire, and when the next job is due."""
    with reading() as connection:
        now, due, following, waiting, parked, expired = connection.execute(_LOOK).one()
    return Ahead(
        due=due is not None,
        next_due_s=None if following is None else (following - now).total_seconds(),
        waiting=waiting is not None,
        parked=parked is not None,
        expired=expired is not None,
    )
