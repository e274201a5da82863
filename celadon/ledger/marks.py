"""The marks of steps: what a job has done, so that no later run does it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.orm import Session

from celadon.errors import CancelRequested
from celadon.jobs import Claim, StepView
from celadon.ledger.db import at, begin, reading
from celadon.ledger.fencing import fence
from celadon.ledger.tables import steps
from celadon.ledger.writing import upsert


def view(row: Any) -> StepView:
    return StepView(
        name=row.name,
        state=row.state,
        error=row.error,
        tries=row.tries,
        started_at=row.started_at,
        last_attempt_at=row.last_attempt_at,
        finished_at=row.finished_at,
        result=row.result,
    )


def step_views(scope: str) -> dict[str, StepView]:
    """The steps marked under a scope (a job's id or its business key), oldest first."""
    with reading() as connection:
        rows = connection.execute(select(steps).where(steps.c.scope == scope).order_by(steps.c.started_at)).all()
    return {row.name: view(row) for row in rows}


def start(claim: Claim, name: str, key: str, lease_s: float) -> Any | None:
    """Mark a step as begun, unless it is done; then its row is returned. Raises LostClaim, CancelRequested."""
    with begin() as connection:
        row = connection.execute(select(steps).where(steps.c.scope == claim.scope, steps.c.name == name)).one_or_none()
        if row is not None and row.state == "done":
            return row
        connection.execute(
            upsert(connection, steps)
            .values(
                scope=claim.scope,
                name=name,
                job_id=claim.job_id,
                state="running",
                key=key,
                tries=1,
                started_at=at(),
                last_attempt_at=at(),
            )
            .on_conflict_do_update(
                index_elements=["scope", "name"],
                set_={
                    "state": "running",
                    "job_id": claim.job_id,
                    "last_attempt_at": at(),
                    "tries": steps.c.tries + 1,
                },
                where=steps.c.state != "done",
            )
        )
        if fence(connection, claim, lease_s):
            raise CancelRequested("cancelled at the start of a step")
    return None


def lock(session: Session, claim: Claim, name: str) -> Any:
    """The step's row, locked for this transaction: two jobs that share a scope do a step one after the other."""
    return session.execute(
        select(steps).where(steps.c.scope == claim.scope, steps.c.name == name).with_for_update()
    ).one()


def done(connection: Connection, claim: Claim, name: str, result: Any, lease_s: float) -> None:
    """Mark a step done in the caller's transaction; the fence is its last statement. Raises LostClaim."""
    connection.execute(
        update(steps)
        .where(steps.c.scope == claim.scope, steps.c.name == name, steps.c.state != "done")
        .values(state="done", result=result, finished_at=at(), job_id=claim.job_id)
    )
    fence(connection, claim, lease_s, progress=True)


def failed(claim: Claim, name: str, error: str, lease_s: float) -> None:
    """Record a step's error after its transaction was rolled back. Raises LostClaim."""
    with begin() as connection:
        connection.execute(
            update(steps)
            .where(steps.c.scope == claim.scope, steps.c.name == name, steps.c.state != "done")
            .values(state="failed", error=error, job_id=claim.job_id)
        )
        fence(connection, claim, lease_s)


def start_sleep(claim: Claim, name: str, key: str, seconds: float, lease_s: float) -> Any:
    """Record, once, when a sleep ends. Returns its state, wake_at and the time now.

    Raises LostClaim, CancelRequested.
    """
    with begin() as connection:
        connection.execute(
            upsert(connection, steps)
            .values(
                scope=claim.scope,
                name=name,
                job_id=claim.job_id,
                state="asleep",
                key=key,
                tries=1,
                started_at=at(),
                last_attempt_at=at(),
                wake_at=at(seconds),
            )
            .on_conflict_do_nothing()
        )
        row = connection.execute(
            select(steps.c.state, steps.c.wake_at, at().label("now")).where(
                steps.c.scope == claim.scope, steps.c.name == name
            )
        ).one()
        if fence(connection, claim, lease_s):
            raise CancelRequested("cancelled before a sleep")
    return row


def forget(session: Session, scopes: Sequence[str]) -> None:
    """Remove what is kept under business keys, in the caller's transaction: their steps would be done anew."""
    session.execute(delete(steps).where(steps.c.scope.in_(scopes)))
