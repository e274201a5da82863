"""Storing new jobs and their idempotency keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, and_, delete, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from celadon.errors import KeyConflict
from celadon.jobs import NewJob
from celadon.ledger.db import at
from celadon.ledger.tables import jobs, keys, switches
from celadon.settings import settings
from celadon.states import State


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT that understands ON CONFLICT, in the database's own dialect."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def paused() -> Any:
    """SQL: the job's queue or name is paused."""
    return exists().where(
        switches.c.paused.is_(True),
        or_(
            and_(switches.c.kind == "queue", switches.c.name == jobs.c.queue),
            and_(switches.c.kind == "job", switches.c.name == jobs.c.name),
        ),
    )


def is_paused(connection: Connection, queue: str, name: str) -> bool:
    held = or_(
        and_(switches.c.kind == "queue", switches.c.name == queue),
        and_(switches.c.kind == "job", switches.c.name == name),
    )
    return connection.execute(select(1).where(switches.c.paused.is_(True), held)).first() is not None


def insert_job(connection: Connection, new: NewJob) -> tuple[str, State, bool]:
    """Store a job. Returns (id, state, is new); a used key gives the first job's id. Raises KeyConflict.

    Nothing here aborts the caller's transaction: a used key is found by ON CONFLICT DO NOTHING.
    """
    if new.key is not None:
        first = _take_key(connection, new)
        if first is not None:
            state = connection.execute(select(jobs.c.state).where(jobs.c.id == first)).scalar()
            return first, State(state) if state else State.SUCCEEDED, False
    state = new.state
    if state == State.QUEUED and is_paused(connection, new.queue, new.name):
        state = State.WAITING
    connection.execute(insert(jobs).values(**row_of(new, state)))
    return new.id, state, True


def row_of(new: NewJob, state: State) -> dict[str, Any]:
    """The columns of a new job. What goes into `queued` gets its `send_due` in the same statement."""
    row: dict[str, Any] = {
        "id": new.id,
        "name": new.name,
        "queue": new.queue,
        "state": state,
        "payload": dict(new.payload),
        "size": new.size,
        "priority": new.priority,
        "tenant": new.tenant,
        "scope": new.scope,
        "trace": new.trace,
        "max_attempts": new.max_attempts,
        "created_at": at(),
        "schedule": new.schedule,
        "due": new.due,
    }
    if new.expires_in_s is not None:
        row["expires_at"] = at(new.expires_in_s)
    if state == State.SCHEDULED:
        row["run_at"] = at(new.delay_s) if new.delay_s is not None else new.run_at
    if state == State.QUEUED:
        # The submitter sends it itself, so a resend is due only if nobody has claimed it by then.
        row |= {"send_due": at(settings().resend_after_s), "sends": 1, "queued_at": at()}
    return row


def _take_key(connection: Connection, new: NewJob) -> str | None:
    """Take the key for this job, or return the job that has it."""
    mine = {
        "scope": new.name,
        "key": new.key,
        "payload_hash": new.payload_hash,
        "job_id": new.id,
        "expires_at": at(settings().key_days * 86400),
    }
    taken = connection.execute(
        upsert(connection, keys)
        .values(**mine)
        .on_conflict_do_update(
            index_elements=["scope", "key"],
            set_={name: mine[name] for name in ("payload_hash", "job_id", "expires_at")},
            where=keys.c.expires_at <= at(),
        )
        .returning(keys.c.job_id)
    ).scalar()
    if taken is not None:
        return None
    held = connection.execute(
        select(keys.c.job_id, keys.c.payload_hash).where(keys.c.scope == new.name, keys.c.key == new.key)
    ).one()
    if held.payload_hash != new.payload_hash:
        raise KeyConflict(
            f"The key {new.key!r} was used for job {held.job_id} with another payload; "
            "use a new key for new work, or send the same payload again",
            key=new.key,
            job_id=held.job_id,
        )
    first: str = held.job_id
    return first


def withdraw(connection: Connection, job_id: str, reason: str) -> bool:
    """Cancel a job that nobody has claimed and free its key (policy `refuse`). False: somebody has it."""
    gone = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_((State.QUEUED, State.WAITING, State.PARKED)))
        .values(state=State.CANCELLED, send_due=None, finished_at=at(), error_kind="refused", error_message=reason)
    ).rowcount
    if gone:
        connection.execute(delete(keys).where(keys.c.job_id == job_id))
    return bool(gone)
