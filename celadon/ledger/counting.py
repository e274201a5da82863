"""How many jobs there are of each state and queue, counted over the indexes: the table is never scanned.

Bounded, whatever is in the ledger: no count goes further than MOST, no age looks at more than OLDEST_OF jobs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, select

from celadon.ledger.db import at, looking
from celadon.ledger.tables import jobs
from celadon.states import State

MOST = 1_000_000  # A count of that many index entries takes a tenth of a second.
OLDEST_OF = 10_000  # The rows themselves have to be read for an age.


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueCount:
    jobs: int  # Queued.
    oldest_s: float  # How long the oldest has been; 0 if there is none.


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    states: Mapping[State, int]
    queues: Mapping[str, QueueCount]


def count(queues: Collection[str]) -> Counts:
    """Count the jobs of each state, and those queued in each of these queues. Raises LedgerUnavailable."""
    with looking() as connection:
        return Counts(
            states={state: _how_many(connection, _is(state)) for state in State},
            queues={queue: _queue(connection, queue) for queue in sorted(queues)},
        )


def _queue(connection: Connection, queue: str) -> QueueCount:
    queued = and_(_is(State.QUEUED), jobs.c.queue == queue)
    oldest: datetime | None
    now: datetime
    oldest, now = connection.execute(oldest_of(queued)).one()
    return QueueCount(
        jobs=_how_many(connection, queued), oldest_s=(now - oldest).total_seconds() if oldest is not None else 0.0
    )


def _how_many(connection: Connection, which: ColumnElement[bool]) -> int:
    return int(connection.execute(how_many(which)).scalar_one())


def how_many(which: ColumnElement[bool]) -> Select[Any]:
    return select(func.count()).select_from(select(1).where(which).limit(MOST).subquery())


def oldest_of(queued: ColumnElement[bool]) -> Select[Any, Any]:
    """Since when the oldest is queued, of those that are next; and the time now."""
    following = select(jobs.c.queued_at).where(queued).order_by(jobs.c.priority.desc(), jobs.c.id)
    some = following.limit(OLDEST_OF).subquery()
    return select(func.min(some.c.queued_at), at())


def _is(state: State) -> ColumnElement[bool]:
    # Written into the statement, not bound to it: only so can the databases tell which partial index covers it.
    return jobs.c.state == bindparam(None, state.value, literal_execute=True, unique=True)
