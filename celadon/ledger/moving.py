"""The moves the scheduler makes for many rows at once: what is due, held, expired or parked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, case, or_, select, update

from celadon.ledger.claims import QUEUED_NOW
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import jobs
from celadon.ledger.writing import paused
from celadon.states import State

BATCH = 500  # Rows a statement moves: a few milliseconds' work, so that no lock is held for long.


def promote(limit: int = BATCH) -> int:
    """scheduled → queued for what is due, or → waiting if its queue or name is paused."""
    due = _locked(and_(jobs.c.state == State.SCHEDULED, jobs.c.run_at <= at()), jobs.c.run_at, limit)
    state = case((paused(), State.WAITING.value), else_=State.QUEUED.value)
    return _move(due, state=state, **QUEUED_NOW)


def release(limit: int = BATCH) -> int:
    """waiting → queued for what nothing holds any more."""
    return _move(
        _locked(and_(jobs.c.state == State.WAITING, ~paused()), jobs.c.id, limit),
        state=State.QUEUED,
        **QUEUED_NOW,
    )


def unpark(known: Collection[str], limit: int = BATCH) -> int:
    """parked → queued for names that a live worker knows."""
    if not known:
        return 0
    ready = and_(jobs.c.state == State.PARKED, jobs.c.name.in_(sorted(known)))
    return _move(_locked(ready, jobs.c.id, limit), state=State.QUEUED, **QUEUED_NOW)


def expire(limit: int = BATCH) -> int:
    """→ cancelled for what was not claimed in time."""
    late = and_(
        jobs.c.expires_at <= at(),
        jobs.c.state.in_((State.SCHEDULED, State.WAITING, State.QUEUED, State.PARKED)),
    )
    return _move(
        _locked(late, jobs.c.expires_at, limit),
        state=State.CANCELLED,
        send_due=None,
        finished_at=at(),
        error_kind="expired",
        error_message="It was not claimed before it expired.",
    )


def park(job_id: str) -> bool:
    """queued → parked: a worker got it that does not know its task."""
    return _one(job_id, State.PARKED, send_due=None)


def hold(job_id: str) -> bool:
    """queued → waiting: its queue or name is paused."""
    return _one(job_id, State.WAITING, send_due=None)


def queued_ids(
    queues: Collection[str], names: Collection[str], limit: int, *, only_off: Any = None
) -> list[tuple[str, str]]:
    """(id, name) of the oldest queued jobs of these queues and names, for relief. `only_off` narrows it."""
    wanted = and_(
        jobs.c.state == State.QUEUED,
        jobs.c.queue.in_(sorted(queues)),
        jobs.c.name.in_(sorted(names)),
        or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > at()),
        ~paused(),
    )
    if only_off is not None:
        wanted = and_(wanted, only_off)
    with reading() as connection:
        rows = connection.execute(
            select(jobs.c.id, jobs.c.name).where(wanted).order_by(jobs.c.priority.desc(), jobs.c.id).limit(limit)
        )
        return [(row.id, row.name) for row in rows]


def _locked(which: Any, order: Any, limit: int) -> Select[Any]:
    # Taken in a fixed order and skipping what is locked: two schedulers share the work and never wait for each other.
    return select(jobs.c.id).where(which).order_by(order).limit(limit).with_for_update(skip_locked=True)


def _move(ids: Select[Any], **values: Any) -> int:
    with begin() as connection:
        return int(connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(**values)).rowcount)


def _one(job_id: str, state: State, **values: Any) -> bool:
    with begin() as connection:
        return bool(
            connection.execute(
                update(jobs).where(jobs.c.id == job_id, jobs.c.state == State.QUEUED).values(state=state, **values)
            ).rowcount
        )
