"""Storing jobs in transactions of the platform's own; what threads of a process store at the same moment is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from celadon.deadline import Abandoned
from celadon.jobs import NewJob
from celadon.ledger.db import begin
from celadon.ledger.entering import enter
from celadon.ledger.together import Alone, Together
from celadon.ledger.writing import insert_job
from celadon.states import State

# Somebody's open transaction may hold one's idempotency key. Who shares a transaction with that waits no longer.
_IMPATIENT = select(func.set_config("lock_timeout", "50", True))


class Stored(NamedTuple):
    job_id: str  # That of the first job, if the key was used.
    state: State
    is_new: bool


class _Asked(NamedTuple):
    new: NewJob
    abandoned: Abandoned


def store(new: NewJob, abandoned: Abandoned) -> Stored:
    """Store a job, and let it in if it is limited and may go. Raises KeyConflict, LedgerUnavailable."""
    return _together(_Asked(new, abandoned))


def _one(asked: _Asked) -> Stored:
    with begin() as connection:
        return _stored(connection, [asked])[0]


def _many(asked: Sequence[_Asked]) -> list[Stored | Alone]:
    with begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(_IMPATIENT)
        # Whoever is given up already would undo all of it.
        wanted = [one for one in asked if not one.abandoned.is_set()]
        stored = dict(zip(map(id, wanted), _stored(connection, wanted), strict=True))
        return [stored.get(id(one), Alone()) for one in asked]


def _stored(connection: Connection, asked: Sequence[_Asked]) -> list[Stored]:
    made = [Stored(*insert_job(connection, one.new)) for one in asked]
    waiting = {stored.job_id for stored in made if stored.is_new and stored.state == State.WAITING}
    # Last, for it keeps releases away.
    entered = enter(connection, [one.new for one in asked if one.new.id in waiting])
    for one in asked:
        one.abandoned.check()
    return [one._replace(state=State.QUEUED) if one.is_new and one.job_id in entered else one for one in made]


_together: Together[_Asked, Stored] = Together(_one, _many)
