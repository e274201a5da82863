"""What an operator does to one job: cancel it, replay it."""

from __future__ import annotations

from sqlalchemy import select, update

from celadon.errors import NotAllowed, UnknownJobId
from celadon.ids import new_id
from celadon.ledger.db import at, begin
from celadon.ledger.tables import audit, jobs
from celadon.states import FINAL, State


def cancel(job_id: str, *, actor: str = "operator") -> State:
    """Cancel a job. Of a running one it is a request, seen at its next step, sleep or `steps.check()`.

    Returns the state the job is in now. Raises UnknownJobId, LedgerUnavailable. A final job stays as it is.
    """
    with begin() as connection:
        row = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJobId(f"There is no job {job_id!r}", job_id=job_id)
        state = State(row.state)
        if state in FINAL:
            return state
        if state == State.RUNNING:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(cancel_requested=True))
        else:
            state = State.CANCELLED
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    state=state,
                    send_due=None,
                    finished_at=at(),
                    error_kind="cancelled",
                    error_message=f"by {actor}",
                )
            )
        connection.execute(audit.insert().values(id=new_id(), at=at(), actor=actor, action="cancel", subject=job_id))
    return state


def replay(job_id: str, *, actor: str = "operator") -> None:
    """Put a dead job back, with all its tries and its history kept. Steps that are done stay done.

    Raises UnknownJobId, NotAllowed (it is not dead), LedgerUnavailable.
    """
    with begin() as connection:
        row = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJobId(f"There is no job {job_id!r}", job_id=job_id)
        if row.state != State.DEAD:
            raise NotAllowed(f"Job {job_id} is {row.state}; only a dead job can be replayed")
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                state=State.WAITING,
                attempt=0,
                crashes=0,
                quarantine=False,
                cancel_requested=False,
                replays=jobs.c.replays + 1,
                finished_at=None,
                expires_at=None,
            )
        )
        connection.execute(audit.insert().values(id=new_id(), at=at(), actor=actor, action="replay", subject=job_id))
