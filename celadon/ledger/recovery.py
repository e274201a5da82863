"""Jobs whose runner is gone: leases that ran out, processes seen dead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from celadon import telemetry
from celadon.jobs import Recovered
from celadon.ledger.alerts import write_alert
from celadon.ledger.claims import NOT_HELD, QUEUED_NOW
from celadon.ledger.db import at, begin, by, reading
from celadon.ledger.tables import attempts, in_state, jobs
from celadon.settings import settings
from celadon.states import Outcome, State


def reap(*, amnesty_until: datetime | None = None, limit: int = 200) -> list[Recovered]:
    """Put jobs whose lease has run out back to `queued` (or end them).

    amnesty_until: leases that ran out before it were lost while the ledger was away. Nobody crashed.
    """
    return _recover(jobs.c.lease_until < by(), witnessed=False, amnesty_until=amnesty_until, limit=limit)


def release_dead(worker: str) -> list[Recovered]:
    """Recover what a process held that was seen to be dead: `worker` is its name in `claimed_by`."""
    return _recover(jobs.c.claimed_by == worker, witnessed=True, amnesty_until=None, limit=1000)


def holds(worker: str) -> bool:
    """Whether a process still holds a job: a row that was locked when `release_dead` came by."""
    with reading() as connection:
        held = select(jobs.c.id).where(jobs.c.state == State.RUNNING, jobs.c.claimed_by == worker).limit(1)
        return connection.execute(held).first() is not None


def _recover(which: Any, *, witnessed: bool, amnesty_until: datetime | None, limit: int) -> list[Recovered]:
    with begin() as connection:
        rows = connection.execute(
            select(jobs)
            .where(in_state(State.RUNNING), which)
            .order_by(jobs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        recovered = [_crashed(connection, row, witnessed, amnesty_until) for row in rows]
    for one in recovered:
        telemetry.recovered(one)
    return recovered


def _crashed(connection: Connection, row: Any, witnessed: bool, amnesty_until: datetime | None) -> Recovered:
    lost = amnesty_until is not None and row.lease_until < amnesty_until
    outcome = Outcome.LOST if lost else Outcome.CRASHED
    # Only a job that was alone in its process can be blamed for the process's death: one whose own process was seen
    # to die, or one in quarantine. Any other is a suspect, and runs alone next time.
    crashes = row.crashes + (not lost and (witnessed or row.quarantine))
    values: dict[str, Any] = {"crashes": crashes, "quarantine": row.quarantine or not lost}
    cause = f"the process that ran it died {crashes} times while the job was alone in it"
    if row.cancel_requested:
        state = State.CANCELLED
        values["finished_at"] = at()
    elif crashes >= settings().crash_limit:
        state = State.DEAD
        values |= {
            "finished_at": at(),
            "error_kind": "CrashLimit",
            "error_message": f"Crash limit: {cause}",
            "error_fingerprint": "crash-limit",
        }
    else:
        state = State.QUEUED
        values |= QUEUED_NOW
    connection.execute(
        update(jobs)
        .where(and_(jobs.c.id == row.id, jobs.c.epoch == row.epoch))
        .values(state=state, epoch=jobs.c.epoch + 1, **NOT_HELD, **values)
    )
    connection.execute(
        insert(attempts).values(
            job_id=row.id,
            epoch=row.epoch,
            number=row.attempt + 1,
            worker=row.claimed_by,
            engine=row.engine,
            started_at=row.claimed_at,
            ended_at=at(),
            outcome=outcome,
            error="its process died" if witnessed else f"its lease ran out at {row.lease_until:%H:%M:%S.%f} UTC",
        )
    )
    if state == State.DEAD:
        write_alert(connection, row.id, "dead", row.name, f"is dead after {crashes} crashes", cause)
    return Recovered(
        job_id=row.id,
        name=row.name,
        queue=row.queue,
        schedule=row.schedule,
        worker=row.claimed_by,
        outcome=outcome,
        state=state,
    )
