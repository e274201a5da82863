"""Whose turn it is: in each line the tenants go round, one job each, as far as all limits have room for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import Connection, bindparam, update

from celadon.ledger import gates as rows
from celadon.ledger import waiting
from celadon.ledger.gates import Group
from celadon.ledger.lines import Line
from celadon.ledger.room import Rooms
from celadon.ledger.tables import switches
from celadon.ledger.waiting import Look

LOOK_ASIDE = 50  # Groups looked at beyond the free places: those before may have none left for themselves.

_TURN = (
    update(switches)
    .where(switches.c.kind == bindparam("b_kind"), switches.c.name == bindparam("b_gate"))
    .values(turn=bindparam("b_turn"))
)


@dataclass(slots=True)
class Turn:
    """A line whose turn it is, as it was found."""

    line: Line
    places: int  # At most; another line of the same release may take some.
    groups: list[Group]  # In the order of their turn, paused ones among them.
    paused: set[tuple[str, str]]

    @property
    def open(self) -> list[Group]:
        return [group for group in self.groups if not group.gates & self.paused]


def turns_of(connection: Connection, lines: Sequence[Line], rooms: Rooms, now: datetime, most: int) -> list[Turn]:
    """The lines that have room, and their groups; the room of the tenants that wait there is counted."""
    rooms.add(connection, {gate.id: gate for line in lines for gate in line.before}.values(), now)
    with_room = [(line, places) for line in lines if (places := _places(line, rooms, most)) > 0]
    gates = [(line, places) for line, places in with_room if line.gate is not None]
    looks = [Look(line.pairs, line.gate.turn, places + LOOK_ASIDE) for line, places in gates if line.gate]
    groups = [*zip(gates, waiting.groups(connection, looks), strict=True)]
    for line, places in with_room:
        if line.gate is None:
            groups.append(((line, places), waiting.of_tenants(connection, line.pairs, line.tenants)))
    # Not those of all tenants: of many that have a limit, few wait here.
    tenants = {group.tenant for _, found in groups for group in found if group.tenant}
    of_tenants = rows.standing_before(connection, tenants=tenants)
    rooms.add(connection, of_tenants, now)
    paused = {gate.id for gate in of_tenants if gate.paused}
    return [
        Turn(line, places, found, paused | {gate.id for gate in line.before if gate.paused})
        for (line, places), found in groups
    ]


def _places(line: Line, rooms: Rooms, most: int) -> int:
    free = None if line.gate is None else rooms.at_most(line.gate, {queue for queue, _ in line.pairs})
    return most if free is None else min(most, free)


def serve(
    connection: Connection, turns: Sequence[Turn], rooms: Rooms, most: int, stuck: Collection[Group]
) -> list[str]:
    """The ids of those whose turn it is, from behind who was last. They stay as they are; their places are taken."""
    able = {id(turn): [one for one in turn.open if one not in stuck and rooms.left(one) > 0] for turn in turns}
    few: dict[Group, int] = {}
    for turn in turns:
        each = min(ceil(turn.places / max(1, len({group.tenant for group in able[id(turn)]}))), ceil(most / len(turns)))
        few |= dict.fromkeys(able[id(turn)], each)
    by_worker = {group for group in few if rooms.by_worker(group)}
    read = waiting.first(connection, {group: many for group, many in few.items() if group not in by_worker})
    read |= waiting.first(connection, {group: few[group] for group in by_worker}, rested=True)
    taken: list[str] = []
    moved: list[dict[str, str]] = []
    for turn in turns:
        groups = [_Waiting(connection, one, read[one], few[one], one in by_worker) for one in able[id(turn)]]
        took, last = _serve_line(turn, groups, rooms, most - len(taken))
        taken += took
        gate = turn.line.gate
        if gate is not None and last is not None and last != gate.turn:
            moved.append({"b_kind": gate.kind, "b_gate": gate.name, "b_turn": last})
    if moved:
        connection.execute(_TURN, moved)
    return taken


def _serve_line(turn: Turn, groups: Sequence[_Waiting], rooms: Rooms, most: int) -> tuple[list[str], str | None]:
    """The ids of those whose turn it is in one line, and the tenant who was last."""
    places = _places(turn.line, rooms, min(most, turn.places))
    if places <= 0:
        return [], None
    tenants: dict[str, list[_Waiting]] = {}
    for one in groups:
        tenants.setdefault(one.group.tenant, []).append(one)
    round_ = deque(tenants.items())
    taken: list[str] = []
    # None of those looked at may have room; then the next look begins behind them.
    last = turn.groups[-1].tenant if len(turn.groups) >= turn.places + LOOK_ASIDE else None
    while round_ and len(taken) < places:
        tenant, jobs_of = round_.popleft()
        if (job_id := _next(jobs_of, rooms)) is not None:
            taken.append(job_id)
            round_.append((tenant, jobs_of))
            last = tenant
    return taken, last


class _Waiting:
    """The waiting jobs of one group, read a few at a time."""

    def __init__(
        self, connection: Connection, group: Group, first: Sequence[tuple[int, str]], few: int, rested: bool
    ) -> None:
        self._connection, self.group, self._rested = connection, group, rested
        self._read, self._asked = deque(first), few
        self._taken: set[str] = set()

    def head(self) -> tuple[int, str] | None:
        """(-priority, id) of the next; None: there is none."""
        if not self._read and len(self._taken) == self._asked:
            self._asked *= 2
            found = waiting.first(self._connection, {self.group: self._asked}, rested=self._rested)[self.group]
            self._read.extend(one for one in found if one[1] not in self._taken)
        return self._read[0] if self._read else None

    def pop(self) -> str:
        job_id = self._read.popleft()[1]
        self._taken.add(job_id)
        return job_id


def _next(groups: Sequence[_Waiting], rooms: Rooms) -> str | None:
    """One tenant's job whose turn it is, a place taken. None: no limit has room for any of its jobs, or none waits."""
    heads = [(head, one) for one in groups if rooms.left(one.group) > 0 and (head := one.head()) is not None]
    if not heads:
        return None
    _, first = min(heads, key=lambda found: found[0])
    rooms.take(first.group)
    return first.pop()
