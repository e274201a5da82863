"""The moves the scheduler makes for many rows at once: what is due, held, expired or parked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, case, or_, select, update

from celadon.ledger import switches
from celadon.ledger.claims import QUEUED_NOW, in_time
from celadon.ledger.db import at, begin, by, reading
from celadon.ledger.tables import in_state, jobs
from celadon.ledger.writing import paused
from celadon.states import State

BATCH = 500  # Rows a statement moves: a few milliseconds' work, so that no lock is held for long.


def promote(limit: int = BATCH) -> int:
    """scheduled → queued for what is due, or → waiting if its queue or name is paused."""
    due = _locked(and_(in_state(State.SCHEDULED), jobs.c.run_at <= by()), jobs.c.run_at, limit)
    state = case((paused(), State.WAITING.value), else_=State.QUEUED.value)
    return _move(due, state=state, **QUEUED_NOW)


def release(limit: int = BATCH) -> int:
    """waiting → queued for what nothing holds any more."""
    free = [jobs.c.state == State.WAITING]
    # Looked up first, and named in the statement: a large backlog behind a pause costs an index look, not a scan.
    held = switches.paused()
    for kind, column in (("queue", jobs.c.queue), ("job", jobs.c.name)):
        if names := sorted(name for of, name in held if of == kind):
            free.append(column.not_in(names))
    return _move(_locked(and_(*free), jobs.c.id, limit), state=State.QUEUED, **QUEUED_NOW)


def unpark(known: Collection[tuple[Collection[str], Collection[str]]], limit: int = BATCH) -> int:
    """parked → queued for jobs that a live worker consumes and knows; `known` is (queues, names) of each."""
    if not known:
        return 0
    wanted = [and_(jobs.c.queue.in_(sorted(queues)), jobs.c.name.in_(sorted(names))) for queues, names in known]
    ready = and_(jobs.c.state == State.PARKED, or_(*wanted))
    return _move(_locked(ready, jobs.c.id, limit), state=State.QUEUED, **QUEUED_NOW)


def expire(limit: int = BATCH) -> int:
    """→ cancelled for what was never claimed in time; what has begun goes on."""
    late = and_(
        jobs.c.expires_at <= by(),
        jobs.c.started_at.is_(None),
        in_state(State.SCHEDULED, State.WAITING, State.QUEUED, State.PARKED),
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


def queued_ids(queues: Collection[str], names: Collection[str], limit: int, *, only_off: Any = None) -> list[str]:
    """Ids of the oldest queued jobs of these queues and names, for relief. `only_off` narrows it."""
    wanted = and_(
        jobs.c.state == State.QUEUED,
        jobs.c.queue.in_(sorted(queues)),
        jobs.c.name.in_(sorted(names)),
        in_time(),
        ~paused(),
    )
    if only_off is not None:
        wanted = and_(wanted, only_off)
    with reading() as connection:
        oldest = select(jobs.c.id).where(wanted).order_by(jobs.c.priority.desc(), jobs.c.id).limit(limit)
        return list(connection.execute(oldest).scalars())


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
