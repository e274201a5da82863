"""Removing what is no longer needed: finished jobs by count, age and size, keys and workers by age."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, delete, func, or_, select, tuple_

from celadon.ledger.callbacks import untold
from celadon.ledger.db import at, begin, by, reading
from celadon.ledger.tables import alerts, attempts, audit, callbacks, deliveries, jobs, keys, steps
from celadon.states import State

BATCH = 500  # Rows removed per transaction, so that no other write waits long.
KEPT_STATES = (State.SUCCEEDED, State.CANCELLED)  # The dead stay until removed by a rule of their own.


def prune(
    name: str,
    *,
    keep: int,
    keep_for: timedelta,
    keep_bytes: int | None = None,
    keep_dead_for: timedelta | None = None,
) -> int:
    """Remove a batch of a name's finished jobs: beyond the newest `keep`, older than `keep_for`, or over `keep_bytes`.

    Dead jobs go only by a rule of their own, `keep_dead_for`. Marks kept under a business key stay; those under the
    job's id go with it. Returns how many were removed; fewer than BATCH means that nothing is left to remove.
    """
    done = and_(jobs.c.name == name, jobs.c.state.in_(KEPT_STATES))
    newest = [jobs.c.finished_at.desc(), jobs.c.id.desc()]
    too_many = [jobs.c.finished_at < by(-keep_for.total_seconds())]
    with reading() as connection:
        first = connection.execute(
            select(jobs.c.finished_at, jobs.c.id).where(done).order_by(*newest).offset(keep).limit(1)
        ).one_or_none()
        if first is not None:
            # The first row beyond the count, and everything older.
            older = and_(jobs.c.finished_at == first.finished_at, jobs.c.id <= first.id)
            too_many.append(or_(jobs.c.finished_at < first.finished_at, older))
        gone = list(connection.execute(select(jobs.c.id).where(done, or_(*too_many)).limit(BATCH)).scalars())
        if keep_bytes is not None and len(gone) < BATCH:
            sizes = (
                select(
                    jobs.c.id,
                    func.sum(jobs.c.size).over(order_by=newest).label("bytes"),
                    func.row_number().over(order_by=newest).label("rank"),
                )
                .where(done, jobs.c.id.not_in(gone))
                .subquery()
            )
            gone += connection.execute(
                select(sizes.c.id).where(sizes.c.bytes > keep_bytes, sizes.c.rank > 1).limit(BATCH - len(gone))
            ).scalars()
        if keep_dead_for is not None and len(gone) < BATCH:
            late = jobs.c.finished_at < by(-keep_dead_for.total_seconds())
            dead = and_(jobs.c.name == name, jobs.c.state == State.DEAD, late)
            gone += connection.execute(select(jobs.c.id).where(dead).limit(BATCH - len(gone))).scalars()
    return _remove(gone) if gone else 0


def _remove(ids: list[str]) -> int:
    with begin() as connection:
        # A replay may have come in between: only what is still at its end goes, and of that what nobody waits to hear.
        gone = (
            connection.execute(
                select(jobs.c.id)
                .where(jobs.c.id.in_(ids), jobs.c.state.in_((*KEPT_STATES, State.DEAD)), ~untold())
                .with_for_update(skip_locked=True)
            )
            .scalars()
            .all()
        )
        for of_a_job in (attempts, deliveries, callbacks):
            connection.execute(delete(of_a_job).where(of_a_job.c.job_id.in_(gone)))
        connection.execute(delete(steps).where(steps.c.scope.in_(gone)))
        connection.execute(delete(alerts).where(alerts.c.job_id.in_(gone), alerts.c.sent_at.is_not(None)))
        connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
    return len(gone)


def forget_audit(days: int = 90) -> int:
    """Remove what operators did longer ago than that."""
    with begin() as connection:
        return int(connection.execute(delete(audit).where(audit.c.at < at(-days * 86400))).rowcount)


def forget_keys(limit: int = BATCH) -> int:
    """Remove idempotency keys whose time is over."""
    old = select(keys.c.scope, keys.c.key).where(keys.c.expires_at <= by()).order_by(keys.c.expires_at).limit(limit)
    with begin() as connection:
        # A submission that takes an expired key over at this moment holds its row.
        mine = old.with_for_update(skip_locked=True)
        return int(connection.execute(delete(keys).where(tuple_(keys.c.scope, keys.c.key).in_(mine))).rowcount)


def names() -> list[str]:
    """Names of jobs that have ended rows, also of jobs no longer declared."""
    with reading() as connection:
        ended = jobs.c.state.in_((*KEPT_STATES, State.DEAD))
        return list(connection.execute(select(jobs.c.name).where(ended).distinct()).scalars())
