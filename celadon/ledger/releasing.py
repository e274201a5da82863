"""Giving places: `waiting → queued` for limited jobs, in turn, as far as all their limits have room.

One release at a time, over all hosts: it counts what is used and keeps places for those it lets go, in one transaction
under a lock. A place is kept until the job is claimed, and then its start counts in the window. So at each release the
starts of the window and the places kept are together no more than the limit, and nothing has to be locked at a claim.
docs/decisions/0018-limits-keep-places.md says why that is exact.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from math import ceil

from sqlalchemy import Connection, Float, Integer, bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from celadon.ledger import gates as rows
from celadon.ledger import idle_places, waiting
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.gates import Group
from celadon.ledger.lines import Line, lines_of
from celadon.ledger.room import Rooms
from celadon.ledger.sending import ToSend
from celadon.ledger.tables import in_state, jobs, switches
from celadon.settings import settings
from celadon.states import State

BATCH = 500  # Jobs a release lets go at most: some tens of milliseconds under the lock.
STANDS_STILL_S = 5  # A release that PostgreSQL has not heard of for so long is not going on.
LINES = 50  # Lines a release serves; the others come at the next.
PATIENCE_S = 0.05  # How long whoever releases at certain gates waits for the release that is at it.
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's word for that this was in vain.
LOOK_ASIDE = 50  # Groups looked at beyond the free places: those before may have none left for themselves.
# Any number will do, as long as every process that releases takes the same one.
_LOCK = 7_204_416_013


def release(
    gates: Collection[tuple[str, str]] | None = None,
    *,
    most: int = BATCH,
    sends: bool = False,
    check: Callable[[], None] | None = None,
) -> list[ToSend]:
    """waiting → queued, with a place kept, for limited jobs whose turn has come and for whom all limits have room.

    gates: only what waits at these (kind, name); None: everywhere. most: how many at most. sends: the caller tells the
    broker of them itself, at once; otherwise the scheduler's sender does. check: called before the commit; what it
    raises undoes the release.

    Nothing is released while somebody else is at it; with `gates` it waits for that, for a moment. Raises
    LedgerUnavailable.
    """
    # Most looks end here. They take no lock: on SQLite whoever counts under it keeps all writers waiting, and on
    # PostgreSQL a scheduler that looked under it all the time while a queue is full would be in the way of the others.
    with reading() as connection:
        lines = lines_of(connection, gates)
        looks = gates is None or connection.dialect.name == "sqlite"
        if not lines or (looks and not (_some_may_go(connection, lines) or idle_places.stuck(connection, lines))):
            return []
    released: list[ToSend] = []
    with begin() as connection:
        now = _begin(connection, patient=gates is not None)
        if now is None:
            return []
        lines = lines_of(connection, gates)
        rooms = Rooms()
        stuck = idle_places.take_back(connection, lines)
        # What is beyond goes first at another release: none is the last each time.
        for line in random.sample(lines, min(len(lines), LINES)):
            released += _serve(connection, line, rooms, now, most - len(released), sends, stuck)
        if check is not None:
            check()
    return released


def lock(connection: Connection) -> None:
    """Keep every release away until the transaction ends; waits for the one that is at it."""
    if connection.dialect.name == "postgresql":
        connection.execute(_TAKE)


def free(connection: Connection) -> bool:
    """`lock`, unless a release is at it."""
    return connection.dialect.name != "postgresql" or bool(connection.execute(_TRY).scalar_one())


_TAKE, _TRY = select(func.pg_advisory_xact_lock(_LOCK)), select(func.pg_try_advisory_xact_lock(_LOCK))
_BE_PATIENT = select(func.set_config("lock_timeout", f"{PATIENCE_S * 1000:.0f}", True))
# A large share of the table would seem cheaper to read in order, which it is not for the jobs beside it. And a process
# that stands still in here loses the lock, with its connection: nobody else could release meanwhile.
_SETTLE = select(
    at(),
    func.set_config("enable_seqscan", "off", True),
    func.set_config("idle_in_transaction_session_timeout", f"{STANDS_STILL_S * 1000:.0f}", True),
    func.set_config("lock_timeout", "0", True),
)


def _begin(connection: Connection, patient: bool) -> datetime | None:
    """The database's time, once the lock is taken. None: somebody else has it."""
    if connection.dialect.name != "postgresql":
        return clock(connection)  # SQLite: the transaction has the only write lock since it began.
    if not patient:
        if not free(connection):
            return None
    else:
        connection.execute(_BE_PATIENT)
        try:
            connection.execute(_TAKE)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            connection.rollback()
            return None
    now: datetime = connection.execute(_SETTLE).one()[0]
    return now


def somebody_waits() -> bool:
    """Whether limited jobs wait anywhere, for whatever reason."""
    with reading() as connection:
        return bool(lines_of(connection, None))


def _groups(connection: Connection, line: Line, rooms: Rooms, now: datetime, places: int) -> list[Group]:
    """The groups of a line that are looked at, in the order of their turn, with the room of their tenants counted."""
    if line.gate is None:
        groups = waiting.of_tenants(connection, line.pairs, line.tenants)
    else:
        groups = waiting.groups(connection, line.pairs, line.gate.turn, places + LOOK_ASIDE)
    tenants = rows.standing_before(connection, tenants={group.tenant for group in groups if group.tenant})
    # Not those of all tenants: of many that have a limit, few wait here.
    rooms.add(connection, tenants, now)
    paused = {gate.id for gate in (*line.before, *tenants) if gate.paused}
    return [group for group in groups if not group.gates & paused]


def _places(line: Line, rooms: Rooms, most: int) -> int:
    free = None if line.gate is None else rooms.at_most(line.gate, {queue for queue, _ in line.pairs})
    return most if free is None else min(most, free)


def _some_may_go(connection: Connection, lines: Sequence[Line]) -> bool:
    """Whether there seems to be room for any of them."""
    now, rooms = clock(connection), Rooms()
    for line in lines:
        rooms.add(connection, line.before, now)
        if _places(line, rooms, BATCH) <= 0:
            continue
        groups = _groups(connection, line, rooms, now, 0)
        if len(groups) >= LOOK_ASIDE or any(rooms.left(one) for one in groups):
            return True
    return False


_TURN = (
    update(switches)
    .where(switches.c.kind == bindparam("b_kind"), switches.c.name == bindparam("b_gate"))
    .values(turn=bindparam("b_turn"))
)


def _serve(
    connection: Connection, line: Line, rooms: Rooms, now: datetime, most: int, sends: bool, stuck: Collection[Group]
) -> list[ToSend]:
    """Let jobs of one line through: each tenant one, round and round, beginning after the one that was served last."""
    rooms.add(connection, line.before, now)
    places = _places(line, rooms, most)
    if places <= 0:
        return []
    groups = _groups(connection, line, rooms, now, places)
    able = [group for group in groups if group not in stuck and rooms.left(group) > 0]
    by_worker = {group for group in able if rooms.by_worker(group)}
    heads = waiting.heads(connection, [group for group in able if group not in by_worker])
    heads |= waiting.heads(connection, list(by_worker), rested=True)
    few = ceil(places / max(1, len({group.tenant for group in heads})))
    tenants: dict[str, list[_Waiting]] = {}
    for group in groups:
        if group in heads:
            tenants.setdefault(group.tenant, []).append(
                _Waiting(connection, group, heads[group], few, group in by_worker)
            )
    turns = deque(tenants.items())
    taken: list[str] = []
    # None of those looked at may have room; then the next look begins behind them.
    last = groups[-1].tenant if len(groups) >= places + LOOK_ASIDE else None
    while turns and len(taken) < places:
        tenant, jobs_of = turns.popleft()
        if (job_id := _next(jobs_of, rooms)) is not None:
            taken.append(job_id)
            turns.append((tenant, jobs_of))
            last = tenant
    if line.gate is not None and last is not None and last != line.gate.turn:
        connection.execute(_TURN, {"b_kind": line.gate.kind, "b_gate": line.gate.name, "b_turn": last})
    return _let_go(connection, taken, sends) if taken else []


class _Waiting:
    """The waiting jobs of one group, read a few at a time."""

    def __init__(self, connection: Connection, group: Group, first: tuple[int, str], few: int, rested: bool) -> None:
        self._connection, self.group, self._few, self._rested = connection, group, few, rested
        self._read = deque([first])
        self._behind = 1
        self._more = True

    def head(self) -> tuple[int, str] | None:
        """(-priority, id) of the next; None: there is none."""
        if not self._read and self._more:
            self._read.extend(
                waiting.following(self._connection, self.group, self._behind, self._few, rested=self._rested)
            )
            self._behind += len(self._read)
            self._more = len(self._read) == self._few
        return self._read[0] if self._read else None

    def pop(self) -> str:
        return self._read.popleft()[1]


def _next(groups: Sequence[_Waiting], rooms: Rooms) -> str | None:
    """One tenant's job whose turn it is, a place taken. None: no limit has room for any of its jobs, or none waits."""
    heads = [(head, one) for one in groups if rooms.left(one.group) > 0 and (head := one.head()) is not None]
    if not heads:
        return None
    _, first = min(heads, key=lambda found: found[0])
    rooms.take(first.group)
    return first.pop()


_STILL_WAITS = (
    select(jobs.c.id)
    .where(jobs.c.id.in_(bindparam("b_ids", expanding=True)), in_state(State.WAITING))
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True)
)
_LET_GO = (
    update(jobs)
    .where(jobs.c.id.in_(_STILL_WAITS))
    .values(
        state=State.QUEUED.value,
        reserved_at=at(),
        queued_at=at(),
        send_due=at(bindparam("b_due_s", type_=Float)),
        sends=bindparam("b_sends", type_=Integer),
    )
    .returning(jobs.c.id, jobs.c.name, jobs.c.queue)
)


def _let_go(connection: Connection, ids: Sequence[str], sends: bool) -> list[ToSend]:
    """waiting → queued. What was cancelled or has expired meanwhile stays; its place is free at the next count."""
    told = {"b_due_s": settings().resend_after_s if sends else 0.0, "b_sends": int(sends)}
    moved = connection.execute(_LET_GO, {"b_ids": list(ids), **told}).all()
    found = {row.id: ToSend(row.id, row.name, row.queue) for row in moved}
    return [found[job_id] for job_id in ids if job_id in found]
