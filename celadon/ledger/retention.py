"""Removing what is no longer needed: finished jobs by count, age and size, keys and workers by age."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, delete, func, or_, select

from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import alerts, attempts, jobs, keys, steps
from celadon.states import State

BATCH = 500  # Rows removed per transaction, so that no other write waits long.
KEPT_STATES = (State.SUCCEEDED, State.CANCELLED)  # The dead stay until an operator removes them.


def prune(name: str, *, keep: int, keep_for: timedelta, keep_bytes: int | None) -> int:
    """Remove finished jobs of one name beyond the newest `keep`, older than `keep_for`, or beyond `keep_bytes`.

    Marks kept under a business key stay; those under the job's id go with it. Returns how many were removed.
    """
    ranked = (
        select(
            jobs.c.id,
            jobs.c.finished_at,
            func.row_number().over(order_by=jobs.c.finished_at.desc()).label("rank"),
            func.sum(jobs.c.size).over(order_by=[jobs.c.finished_at.desc(), jobs.c.id]).label("bytes"),
        )
        .where(jobs.c.name == name, jobs.c.state.in_(KEPT_STATES))
        .subquery()
    )
    too_many = [ranked.c.rank > keep, ranked.c.finished_at < at(-keep_for.total_seconds())]
    if keep_bytes is not None:
        too_many.append(and_(ranked.c.bytes > keep_bytes, ranked.c.rank > 1))
    with reading() as connection:
        ids = connection.execute(select(ranked.c.id).where(or_(*too_many)).limit(BATCH)).scalars().all()
    if not ids:
        return 0
    with begin() as connection:
        # A replay or a late write may have come in between: only what is still finished goes.
        gone = (
            connection.execute(
                select(jobs.c.id)
                .where(jobs.c.id.in_(ids), jobs.c.state.in_(KEPT_STATES))
                .with_for_update(skip_locked=True)
            )
            .scalars()
            .all()
        )
        connection.execute(delete(attempts).where(attempts.c.job_id.in_(gone)))
        connection.execute(delete(steps).where(steps.c.scope.in_(gone)))
        connection.execute(delete(alerts).where(alerts.c.job_id.in_(gone), alerts.c.sent_at.is_not(None)))
        connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
    return len(gone)


def forget_keys(limit: int = BATCH) -> int:
    """Remove idempotency keys whose time is over."""
    with begin() as connection:
        old = select(keys.c.scope, keys.c.key).where(keys.c.expires_at <= at()).limit(limit).subquery()
        return int(
            connection.execute(
                delete(keys).where(select(1).where(old.c.scope == keys.c.scope, old.c.key == keys.c.key).exists())
            ).rowcount
        )


def names() -> list[str]:
    """Names of jobs that have finished rows, also of jobs no longer declared."""
    with reading() as connection:
        return list(connection.execute(select(jobs.c.name).where(jobs.c.state.in_(KEPT_STATES)).distinct()).scalars())
