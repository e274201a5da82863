"""Giving places: `waiting → queued` for limited jobs, in turn, as far as all their limits have room.

One release at a time, over all hosts: it counts what is used and keeps places for those it lets go, in one transaction
under a lock. A place is kept until the job is claimed, and then its start counts in the window. So at each release the
starts of the window and the places kept are together no more than the limit, and nothing has to be locked at a claim.
docs/decisions/0018-limits-keep-places.md says why that is exact.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, Integer, String, bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from celadon.ledger import idle_places
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.lines import Line, lines_of
from celadon.ledger.room import Rooms
from celadon.ledger.sending import ToSend
from celadon.ledger.tables import in_state, jobs
from celadon.ledger.turns import LOOK_ASIDE, serve, turns_of
from celadon.settings import settings
from celadon.states import State

BATCH = 500  # Jobs a release lets go at most: some tens of milliseconds under the lock.
STANDS_STILL_S = 5  # A release that PostgreSQL has not heard of for so long is not going on.
LINES = 50  # Lines a release serves; the others come at the next.
PATIENCE_S = 0.05  # How long whoever releases at certain gates waits for the release that is at it.
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's word for that this was in vain.
# Any number will do, as long as every process that releases takes the same one.
_LOCK = 7_204_416_013


def release(
    gates: Collection[tuple[str, str]] | None = None,
    *,
    most: int = BATCH,
    sends: bool = False,
    made_room: bool = False,
    check: Callable[[], None] | None = None,
) -> list[ToSend]:
    """waiting → queued, with a place kept, for limited jobs whose turn has come and for whom all limits have room.

    gates: only what waits at these (kind, name); None: everywhere. most: how many at most. sends: the caller tells the
    broker of them itself, at once; otherwise the scheduler's sender does. made_room: somebody who was counted at
    these gates has just left, so that a look whether there is room is spared. check: called before the commit; what it
    raises undoes the release.

    Nothing is released while somebody else is at it for longer than a moment. Without `gates`, places that can't be
    used are taken back first. Raises LedgerUnavailable.
    """
    # Most looks end here. They take no lock: on SQLite whoever counts under it keeps all writers waiting, and on
    # PostgreSQL who only looks would be in the way of who can let some go.
    with reading() as connection:
        lines = lines_of(connection, gates)
        sure = made_room and connection.dialect.name == "postgresql"
        if not lines or not (
            sure or _some_may_go(connection, lines) or (gates is None and idle_places.stuck(connection, lines))
        ):
            return []
    released: list[ToSend] = []
    with begin() as connection:
        now = _lock_soon(connection)
        if now is None:
            return []
        lines = lines_of(connection, gates)
        stuck = idle_places.take_back(connection, lines) if gates is None else set()
        # What is beyond goes first at another release: none is the last each time.
        served = random.sample(lines, min(len(lines), LINES))
        rooms = Rooms()
        turns = turns_of(connection, served, rooms, now, most)
        taken = serve(connection, turns, rooms, most, stuck)
        if taken:
            released = _let_go(connection, taken, sends)
        if check is not None:
            check()
    return released


def lock(connection: Connection) -> datetime:
    """Keep every release away until the transaction ends; waits for the one that is at it. The database's time then."""
    if connection.dialect.name != "postgresql":
        return clock(connection)  # SQLite: the transaction has the only write lock since it began.
    now: datetime = connection.execute(_TAKE, _standing_still()).one()[1]
    return now


def lock_if_free(connection: Connection) -> datetime | None:
    """`lock`, unless a release is at it: None."""
    if connection.dialect.name != "postgresql":
        return clock(connection)
    taken, now, *_ = connection.execute(_TRY, _standing_still()).one()
    return now if taken else None


def _lock_soon(connection: Connection) -> datetime | None:
    """`lock`, unless a release is at it for longer than a moment: None."""
    if connection.dialect.name != "postgresql":
        return clock(connection)
    connection.execute(_BE_PATIENT)
    try:
        return lock(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        connection.rollback()
        return None


# A large share of the table would seem cheaper to read in order, which it is not for the jobs beside it. And a process
# that stands still in here loses the lock, with its connection: nobody else could release meanwhile.
_SETTLED = (
    at(),
    func.set_config("enable_seqscan", "off", True),
    func.set_config("idle_in_transaction_session_timeout", bindparam("b_still_ms", type_=String), True),
    func.set_config("lock_timeout", "0", True),
)
_TAKE = select(func.pg_advisory_xact_lock(_LOCK), *_SETTLED)
_TRY = select(func.pg_try_advisory_xact_lock(_LOCK), *_SETTLED)
_BE_PATIENT = select(func.set_config("lock_timeout", f"{PATIENCE_S * 1000:.0f}", True))


def _standing_still() -> dict[str, str]:
    return {"b_still_ms": f"{STANDS_STILL_S * 1000:.0f}"}


def somebody_waits() -> bool:
    """Whether limited jobs wait anywhere, for whatever reason."""
    with reading() as connection:
        return bool(lines_of(connection, None))


def _some_may_go(connection: Connection, lines: Sequence[Line]) -> bool:
    """Whether there seems to be room for any of them."""
    rooms = Rooms()
    turns = turns_of(connection, lines, rooms, clock(connection), 1)
    return any(len(turn.groups) > LOOK_ASIDE or any(map(rooms.left, turn.open)) for turn in turns)


_STILL_WAITS = (
    select(jobs.c.id)
    .where(jobs.c.id.in_(bindparam("b_ids", expanding=True)), in_state(State.WAITING))
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True)
)
RELEASED: Mapping[str, Any] = {
    "state": State.QUEUED.value,
    "reserved_at": at(),
    "queued_at": at(),
    "send_due": at(bindparam("b_due_s", type_=Float)),
    "sends": bindparam("b_sends", type_=Integer),
}
"""What a job becomes that is let go, with a place kept. Executed with `told`."""
_LET_GO = (
    update(jobs).where(jobs.c.id.in_(_STILL_WAITS)).values(**RELEASED).returning(jobs.c.id, jobs.c.name, jobs.c.queue)
)


def told(sends: bool) -> dict[str, float]:
    """The parameters of `RELEASED`; sends: whoever lets it go tells the broker."""
    return {"b_due_s": settings().resend_after_s if sends else 0.0, "b_sends": int(sends)}


def _let_go(connection: Connection, ids: Sequence[str], sends: bool) -> list[ToSend]:
    """waiting → queued. What was cancelled or has expired meanwhile stays; its place is free at the next count."""
    moved = connection.execute(_LET_GO, {"b_ids": list(ids), **told(sends)}).all()
    found = {row.id: ToSend(row.id, row.name, row.queue) for row in moved}
    return [found[job_id] for job_id in ids if job_id in found]
