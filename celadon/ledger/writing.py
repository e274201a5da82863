"""Storing new jobs and their idempotency keys."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from celadon.errors import KeyConflict
from celadon.jobs import NewJob
from celadon.ledger.db import at
from celadon.ledger.gates import held
from celadon.ledger.tables import callbacks, jobs, keys
from celadon.settings import settings
from celadon.states import State


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT that understands ON CONFLICT, in the database's own dialect."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


# The statements of the busy paths are built once: building one costs more than running it.
_STATE: Any = bindparam("b_state", type_=String)
_NEW_QUEUED = State.QUEUED.value == _STATE
_PLAIN = ["id", "name", "queue", "payload", "size", "priority", "tenant", "scope", "trace", "max_attempts"]
_INSERT = (
    insert(jobs)
    .values(
        **{name: bindparam(f"b_{name}", type_=jobs.c[name].type) for name in _PLAIN},
        schedule=bindparam("b_schedule", type_=jobs.c.schedule.type),
        due=bindparam("b_due", type_=jobs.c.due.type),
        created_at=at(),
        expires_at=at(bindparam("b_expires_in_s", type_=Float)),
        run_at=func.coalesce(at(bindparam("b_delay_s", type_=Float)), bindparam("b_run_at", type_=jobs.c.run_at.type)),
        state=case(
            (
                and_(
                    State.QUEUED.value == _STATE,
                    held(bindparam("b_queue"), bindparam("b_name"), bindparam("b_tenant", type_=jobs.c.tenant.type)),
                ),
                State.WAITING.value,
            ),
            else_=_STATE,
        ),
        # What goes into `queued` gets its `send_due` in the same statement. The submitter sends it itself, so a resend
        # is due only if nobody has claimed it by then.
        send_due=case((State.QUEUED.value == _STATE, at(bindparam("b_resend_after_s", type_=Float))), else_=None),
        queued_at=case((State.QUEUED.value == _STATE, at()), else_=None),
        sends=1,
    )
    .returning(jobs.c.state)
)


def insert_job(connection: Connection, new: NewJob) -> tuple[str, State, bool]:
    """Store a job. Returns (id, state, is new); a used key gives the first job's id. Raises KeyConflict.

    Nothing here aborts the caller's transaction: a used key is found by ON CONFLICT DO NOTHING.
    """
    if new.key is not None:
        first = _take_key(connection, new)
        if first is not None:
            state = connection.execute(select(jobs.c.state).where(jobs.c.id == first)).scalar()
            return first, State(state) if state else State.SUCCEEDED, False
    facts = {f"b_{field.name}": getattr(new, field.name) for field in fields(new)}
    stored = connection.execute(_INSERT, {**facts, "b_resend_after_s": settings().resend_after_s}).scalar_one()
    if new.callback is not None:
        connection.execute(insert(callbacks).values(job_id=new.id, url=new.callback))
    return new.id, State(stored), True


def _take_key(connection: Connection, new: NewJob) -> str | None:
    """Take the key for this job, or return the job that has it."""
    mine = {
        "scope": new.key_scope or new.name,
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
        select(keys.c.job_id, keys.c.payload_hash).where(keys.c.scope == mine["scope"], keys.c.key == new.key)
    ).one()
    if held.payload_hash != new.payload_hash:
        raise KeyConflict(
            f"The key {new.key!r} was used for job {held.job_id} with another payload or tenant; "
            "use a new key for new work, or send the same again",
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
        .values(
            state=State.CANCELLED,
            send_due=None,
            reserved_at=None,
            finished_at=at(),
            error_kind="refused",
            error_message=reason,
        )
    ).rowcount
    if gone:
        connection.execute(delete(keys).where(keys.c.job_id == job_id))
    return bool(gone)
