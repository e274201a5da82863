"""The moves the scheduler makes for many rows at once: what is due, held, expired or parked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, case, or_, select, update

from celadon.ledger import gates, places, waiting
from celadon.ledger.claims import in_time
from celadon.ledger.db import at, begin, by, reading
from celadon.ledger.departures import QUEUED_NOW
from celadon.ledger.gates import COLUMN, held, refused
from celadon.ledger.tables import TENANT, in_state, jobs
from celadon.states import State

BATCH = 500  # Rows a statement moves: a few milliseconds' work, so that no lock is held for long.


def promote(limit: int = BATCH) -> int:
    """scheduled → queued for what is due, or → waiting for what is paused or limited."""
    due = _locked(and_(in_state(State.SCHEDULED), jobs.c.run_at <= by()), jobs.c.run_at, limit)
    state = case((held(), State.WAITING.value), else_=State.QUEUED.value)
    return _move(due, state=state, **QUEUED_NOW)


def release(limit: int = BATCH) -> int:
    """waiting → queued for what neither a pause nor a limit holds any more. Limits release by themselves."""
    with reading() as connection:
        standing = gates.standing(connection)
        closed = {gate.id for gate in standing}
        # Asked for by name: a large backlog behind a pause or a limit costs an index look, not a scan.
        free = [
            and_(jobs.c.queue == queue, jobs.c.name == name)
            for queue, name in waiting.pairs(connection)
            if ("queue", queue) not in closed and ("job", name) not in closed
        ]
    others = TENANT.not_in(gates.names(standing, "tenant"))
    moved = 0
    for pair in free:
        if moved < limit:
            ready = _locked(and_(in_state(State.WAITING), pair, others), jobs.c.id, limit - moved)
            moved += _move(ready, state=State.QUEUED, **QUEUED_NOW)
    return moved


def hold_unplaced(limit: int = BATCH) -> int:
    """queued → waiting for limited jobs that no place is kept for: queued before the limit was set, or given back."""
    with reading() as connection:
        limited = [gate for gate in gates.standing(connection) if gate.rules]
        here = [column.in_(names) for kind, column in COLUMN.items() if (names := gates.names(limited, kind))]
        unplaced = [and_(one, in_state(State.QUEUED), jobs.c.reserved_at.is_(None)) for one in here]
        # Nearly always there is none, and a look does not keep SQLite's writers waiting.
        found = [one for one in unplaced if connection.execute(select(jobs.c.id).where(one).limit(1)).first()]
    return sum(_move(_locked(one, jobs.c.id, limit), state=State.WAITING, send_due=None) for one in found)


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
        reserved_at=None,
        finished_at=at(),
        error_kind="expired",
        error_message="It was not claimed before it expired.",
    )


def park(job_id: str) -> bool:
    """queued → parked: a worker got it that does not know its task."""
    with begin() as connection:
        got = and_(jobs.c.id == job_id, in_state(State.QUEUED))
        away: dict[str, Any] = {"state": State.PARKED, "send_due": None, "reserved_at": None}
        return bool(connection.execute(update(jobs).where(got).values(away)).rowcount)


def hold(job_id: str) -> bool:
    """queued → waiting: it is paused, or limited and no place is kept for it."""
    with begin() as connection:
        return places.give_up(connection, job_id)


def queued_ids(queues: Collection[str], names: Collection[str], limit: int, *, only_off: Any = None) -> list[str]:
    """Ids of the oldest queued jobs of these queues and names, for relief. `only_off` narrows it."""
    wanted = and_(
        jobs.c.state == State.QUEUED,
        jobs.c.queue.in_(sorted(queues)),
        jobs.c.name.in_(sorted(names)),
        in_time(),
        ~refused(),
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
