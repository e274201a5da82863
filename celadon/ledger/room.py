"""How far limits are used, and so how many more jobs may go: counted from rows each time, so no count can drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String, cast, func, literal, null, or_, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from celadon.ledger.gates import COLUMN, Group, Standing, names
from celadon.ledger.presence import Worker, alive_on
from celadon.ledger.tables import TENANT, in_state, jobs, starts
from celadon.limits import Limit
from celadon.states import State

EVERYBODY = ""  # The key of a rule that is for all together.
_START_COLUMN = {"queue": starts.c.queue, "job": starts.c.name, "tenant": starts.c.tenant}


@dataclass(slots=True)
class Used:
    """How far one rule is used, under each key."""

    gate: Standing
    rule: Limit
    workers: int = 1  # Of a rule that is for each worker: for how many.
    running: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)

    def key(self, tenant: str) -> str:
        return tenant if self.rule.each == "tenant" else EVERYBODY

    def keys(self) -> list[str]:
        """Those under which it is used at all; for a rule without keys the only one."""
        used = {*self.running, *self.reserved, *self.starts}
        return sorted(used) if self.rule.each == "tenant" else [EVERYBODY]

    def room(self, key: str) -> int:
        """How many more may be released under a key. Never less than none."""
        left = []
        if self.rule.concurrency is not None:
            left.append(self.rule.concurrency * self.workers - self.running[key] - self.reserved[key])
        if self.rule.starts is not None:
            left.append(self.rule.starts - self.starts[key] - self.reserved[key])
        return max(0, min(left))


class Rooms:
    """The use of all rules of some gates, counted at one moment; what is taken since is added."""

    def __init__(self, used: Sequence[Used]) -> None:
        self.used = used

    def left(self, group: Group) -> int:
        """How many more jobs of a group all limits have room for."""
        return min((one.room(one.key(group.tenant)) for one in self._of(group)), default=0)

    def take(self, group: Group) -> None:
        """Keep a place for one of them."""
        for one in self._of(group):
            one.reserved[one.key(group.tenant)] += 1

    def at_most(self, gate: Standing) -> int | None:
        """How many more a gate lets through in all; None: its rules don't say."""
        rooms = [one.room(EVERYBODY) for one in self.used if one.gate.id == gate.id and one.rule.each != "tenant"]
        return min(rooms, default=None)

    def _of(self, group: Group) -> Iterator[Used]:
        before = group.gates
        return (one for one in self.used if one.gate.id in before)


def count(connection: Connection, gates: Iterable[Standing], now: datetime) -> Rooms:
    """Count everything in one statement, so in one sight of the ledger: no job is between two of the counts.

    now: the database's clock before that; windows end there.
    """
    limited = [gate for gate in gates if gate.rules]
    used = [Used(gate, rule) for gate in limited for rule in gate.rules]
    if not used:
        return Rooms(used)
    parts = [_in_use(limited), *_windows(used, now)]
    for row in connection.execute(union_all(*parts)):
        if row.rule >= 0:
            used[row.rule].starts[row.tenant] = row.started
            continue
        group = Group(row.queue, row.name, row.tenant)
        for one in used:
            if one.gate.id in group.gates:
                one.running[one.key(group.tenant)] += row.running
                one.reserved[one.key(group.tenant)] += row.reserved
    for_each = [one for one in used if one.rule.each == "worker"]
    if for_each:
        living = alive_on(connection)
        for one in for_each:
            # At least one: with no worker alive, a web process may run it (celadon/fallback.py).
            one.workers = max(1, sum(_works(worker, one.gate) for worker in living))
    return Rooms(used)


def _in_use(gates: Sequence[Standing]) -> Any:
    """Jobs that run, or that a place is kept for, by group."""
    here: list[ColumnElement[bool]] = [
        column.in_(found) for kind, column in COLUMN.items() if (found := names(gates, kind))
    ]
    runs = select(jobs.c.queue, jobs.c.name, TENANT.label("tenant"), literal(1).label("runs"), literal(0).label("kept"))
    kept = select(jobs.c.queue, jobs.c.name, TENANT.label("tenant"), literal(0).label("runs"), literal(1).label("kept"))
    each = union_all(
        runs.where(in_state(State.RUNNING), or_(*here)),
        kept.where(jobs.c.reserved_at.is_not(None), in_state(State.QUEUED), or_(*here)),
    ).subquery()
    return select(
        literal(-1).label("rule"),
        each.c.queue,
        each.c.name,
        each.c.tenant,
        func.sum(each.c.runs).label("running"),
        func.sum(each.c.kept).label("reserved"),
        literal(0).label("started"),
    ).group_by(each.c.queue, each.c.name, each.c.tenant)


def _windows(used: Sequence[Used], now: datetime) -> Iterator[Any]:
    """How many starts stand in the window of each rule that has one."""
    for number, one in enumerate(used):
        if one.rule.starts is None:
            continue
        nothing: ColumnElement[str] = cast(null(), String)
        key: ColumnElement[str] = literal(EVERYBODY)
        if one.rule.each == "tenant":
            key = func.coalesce(starts.c.tenant, EVERYBODY)
        counted: Any = select(
            literal(number).label("rule"),
            nothing.label("queue"),
            nothing.label("name"),
            key.label("tenant"),
            cast(null(), Integer).label("running"),
            cast(null(), Integer).label("reserved"),
            func.count().label("started"),
        ).where(
            _START_COLUMN[one.gate.kind] == one.gate.name,
            starts.c.at > now - timedelta(seconds=one.rule.window_s),
        )
        yield counted.group_by(starts.c.tenant) if one.rule.each == "tenant" else counted


def _works(worker: Worker, gate: Standing) -> bool:
    """Whether the worker runs jobs that come through the gate."""
    if gate.kind == "queue":
        return gate.name in worker.queues
    return gate.name in worker.tasks if gate.kind == "job" else bool(worker.queues)
