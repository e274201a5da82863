"""Who is to be told when a job has ended: rows that are made with the job, and become jobs of their own at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, exists, select, update

from celadon.jobs import NewJob
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import callbacks, in_state, jobs
from celadon.ledger.writing import insert_job
from celadon.states import State

BATCH = 100
# Of jobs that ended so long ago nearly all were seen by an earlier look. A transaction may commit a time that is a
# little past; what is later still is found when everything is looked at.
LATELY_S = 30.0
_ENDED = in_state(State.SUCCEEDED, State.CANCELLED, State.DEAD)

_COLUMNS = (
    *(jobs.c.id, jobs.c.queue, jobs.c.state, jobs.c.result, jobs.c.trace),
    *(jobs.c.error_kind, jobs.c.error_message, jobs.c.error_fingerprint),
)

MakeJob = Callable[[Any], NewJob]
"""Makes the job that tells of an end, from a row with `id`, `queue`, `state`, `result`, the error's fields, `url`."""


def untold() -> ColumnElement[bool]:
    """SQL: somebody is still to be told of the job."""
    return exists().where(callbacks.c.job_id == jobs.c.id, callbacks.c.told_at.is_(None)).correlate(jobs)


def turn_ended(make: MakeJob, *, lately: bool) -> int:
    """Make a job of each callback whose job has ended: the one exists if and only if the other is marked as told.

    lately: look at jobs that have ended in the last LATELY_S only, which costs no more than there are of them. Returns
    how many were found; BATCH means that there may be more. Raises LedgerUnavailable.
    """
    waits = exists(select(callbacks.c.job_id).where(callbacks.c.told_at.is_(None)))
    since = [jobs.c.finished_at > at(-LATELY_S)] if lately else []
    ended = select(jobs.c.id).join(callbacks, callbacks.c.job_id == jobs.c.id)
    with reading() as connection:
        if not connection.execute(select(waits)).scalar_one():
            return 0
        found = (
            connection.execute(ended.where(_ENDED, callbacks.c.told_at.is_(None), *since).limit(BATCH)).scalars().all()
        )
    for job_id in found:
        _turn(make, job_id)
    return len(found)


def _turn(make: MakeJob, job_id: str) -> None:
    with begin() as connection:
        # The job before the callback, as whoever replays it. Who is at it now is another scheduler, or an operator.
        row = connection.execute(
            select(*_COLUMNS, callbacks.c.url)
            .join(callbacks, callbacks.c.job_id == jobs.c.id)
            .where(jobs.c.id == job_id, _ENDED)
            .with_for_update(of=jobs, skip_locked=True)
        ).one_or_none()
        if row is None:
            return
        marked = connection.execute(
            update(callbacks).where(callbacks.c.job_id == job_id, callbacks.c.told_at.is_(None)).values(told_at=at())
        )
        if marked.rowcount:
            insert_job(connection, make(row))
