"""Letting a limited job in as it is stored: it gets the place that a release would give it a moment later.

That is for the plainest case, of which there are most: nobody waits at its queue, whose one limit is how many run at a
time, and nothing else limits or holds it. Every other job waits for a release.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, exists, func, literal_column, select, update

from celadon.jobs import NewJob
from celadon.ledger import releasing
from celadon.ledger.gates import rules_of, stopped
from celadon.ledger.tables import in_state, jobs
from celadon.states import State

_QUEUE: Any = bindparam("b_queue")
_others = jobs.alias("others")


def _there(state: State) -> ColumnElement[bool]:
    """SQL: another job of the queue is in that state, in the words of the partial indexes (see `in_state`)."""
    return and_(_others.c.queue == _QUEUE, _others.c.state == literal_column(f"'{state}'"))


_running = select(func.count()).where(_there(State.RUNNING))
_kept = select(func.count()).where(_there(State.QUEUED), _others.c.reserved_at.is_not(None))
_waits = exists().where(_there(State.WAITING), _others.c.id.not_in(bindparam("b_beside", expanding=True)))
_ENTER = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("b_id"),
        in_state(State.WAITING),
        ~stopped(),
        ~_waits,
        _running.scalar_subquery() + _kept.scalar_subquery() < bindparam("b_most", type_=Integer),
    )
    .values(**releasing.RELEASED)
)


def enter(connection: Connection, stored: Sequence[NewJob]) -> set[str]:
    """waiting → queued, with a place kept, for jobs just stored in this transaction; their messages are the caller's.

    It keeps other releases away until the transaction ends, so that has to be soon. Returns who went in, by their ids.
    """
    if not stored or releasing.lock_if_free(connection) is None:
        return set()
    return {new.id for new in stored if _enter(connection, new, [one.id for one in stored])}


def _enter(connection: Connection, new: NewJob, beside: Sequence[str]) -> bool:
    rules = rules_of(connection, new.queue, new.name, new.tenant)
    if len(rules) != 1:
        return False
    kind, _, rule = rules[0]
    if kind != "queue" or rule.concurrency is None or rule.starts is not None or rule.each != "all":
        return False
    asked = {"b_id": new.id, "b_beside": beside, "b_queue": new.queue, "b_most": rule.concurrency}
    return connection.execute(_ENTER, {**asked, **releasing.told(sends=True)}).rowcount == 1
