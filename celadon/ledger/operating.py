"""What an operator does to one job: cancel it, replay it, make it due at another time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from celadon.errors import InvalidOption, NotAllowed, UnknownJobId
from celadon.ids import new_id
from celadon.ledger.bounded import command
from celadon.ledger.db import at
from celadon.ledger.tables import audit, callbacks, jobs, steps
from celadon.states import FINAL, State
from celadon.times import instant, seconds


def cancel(job_id: str, *, actor: str = "operator", patience_s: float | None = None) -> State:
    """Cancel a job. Of a running one it is a request, seen at its next step, sleep or `steps.check()`.

    patience_s: how long it waits for a job that somebody else holds in a transaction; None: 2 s. Returns the state the
    job is in now. Raises UnknownJobId, LedgerUnavailable. A final job stays as it is.
    """
    with command("the job", patience_s=patience_s) as connection:
        state = State(_locked(connection, job_id).state)
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
                    reserved_at=None,
                    finished_at=at(),
                    error_kind="cancelled",
                    error_message=f"by {actor}",
                )
            )
        _note(connection, actor, "cancel", job_id)
    return state


def replay(job_id: str, *, actor: str = "operator") -> None:
    """Put a dead job back, with all its tries and its history kept. Steps that are done stay done.

    Raises UnknownJobId, NotAllowed (it is not dead), LedgerUnavailable.
    """
    with command("the job") as connection:
        row = _locked(connection, job_id)
        if row.state != State.DEAD:
            raise NotAllowed(f"Job {job_id} is {row.state}; only a dead job can be replayed")
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                state=State.WAITING,
                attempt=0,
                crashes=0,
                deaths=0,
                quarantine=False,
                exclusive=False,
                cancel_requested=False,
                replays=jobs.c.replays + 1,
                finished_at=None,
                expires_at=None,
            )
        )
        # Whoever was told that it is dead is told of its next end too.
        connection.execute(update(callbacks).where(callbacks.c.job_id == job_id).values(told_at=None))
        _note(connection, actor, "replay", job_id)


def run_now(job_id: str, *, actor: str = "operator") -> datetime:
    """Make a scheduled job due now: one that was to run later, or that backs off after an error.

    The scheduler queues it at its next tick. Returns when it is due. Raises UnknownJobId, NotAllowed (it is not
    scheduled, or it is asleep in a step), LedgerUnavailable.
    """
    return _make_due(job_id, at(), actor, "run now")


def reschedule(
    job_id: str, *, run_at: datetime | None = None, delay: timedelta | float | None = None, actor: str = "operator"
) -> datetime:
    """Make a scheduled job due at another time, earlier or later; one that is past is now.

    run_at: an aware time; or delay: a timedelta or seconds from now. Returns when it is due. Raises as `run_now`,
    and InvalidOption.
    """
    if (run_at is None) == (delay is None):
        raise InvalidOption("say when the job is due: either run_at or delay")
    when, delay_s = instant("run_at", run_at), seconds("delay", delay)
    return _make_due(job_id, at(delay_s) if when is None else when, actor, "reschedule")


def _make_due(job_id: str, when: Any, actor: str, action: str) -> datetime:
    with command("the job") as connection:
        row = _locked(connection, job_id)
        if row.state != State.SCHEDULED:
            raise NotAllowed(f"Job {job_id} is {row.state}; only a scheduled job can be made due at another time")
        # Whichever job of the scope began the sleep: who is due as it ends is asleep in it.
        asleep = connection.execute(
            select(steps.c.name, steps.c.wake_at).where(
                steps.c.scope == (row.scope or job_id),
                steps.c.state == "asleep",
                steps.c.wake_at == row.run_at,
                steps.c.wake_at > at(),
            )
        ).first()
        if asleep is not None:
            raise NotAllowed(
                f"Job {job_id} sleeps in its step {asleep.name!r} until {asleep.wake_at:%Y-%m-%d %H:%M:%S} UTC. That "
                "time is recorded in the step, so a job woken earlier would only go to sleep again; it can be cancelled"
            )
        due: datetime = connection.execute(
            update(jobs).where(jobs.c.id == job_id).values(run_at=when).returning(jobs.c.run_at)
        ).scalar_one()
        _note(connection, actor, action, job_id, {"run_at": due.isoformat()})
    return due


def _locked(connection: Connection, job_id: str) -> Any:
    """The job's state, scope and time, locked until the transaction ends. Raises UnknownJobId."""
    row = connection.execute(
        select(jobs.c.state, jobs.c.scope, jobs.c.run_at).where(jobs.c.id == job_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise UnknownJobId(f"There is no job {job_id!r}", job_id=job_id)
    return row


def _note(connection: Connection, actor: str, action: str, job_id: str, detail: Any = None) -> None:
    connection.execute(
        audit.insert().values(id=new_id(), at=at(), actor=actor, action=action, subject=job_id, detail=detail)
    )
