"""How far limits are used, and so how many more jobs may go: counted from rows each time, so no count can drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    CompoundSelect,
    Connection,
    Integer,
    Result,
    String,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    values,
)
from sqlalchemy.sql.elements import ColumnElement

from celadon.ledger.claims import boot_of
from celadon.ledger.db import Instant
from celadon.ledger.gates import COLUMN, Group, Standing, names
from celadon.ledger.presence import alive_on
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
    running: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    workers: Workers | None = None  # Of a rule that is for each worker.

    def key(self, tenant: str) -> str:
        return tenant if self.rule.each == "tenant" else EVERYBODY

    def keys(self) -> list[str]:
        """Those under which it is used at all; for a rule without keys the only one."""
        used = {*self.running, *self.reserved, *self.starts}
        return sorted(used) if self.rule.each == "tenant" else [EVERYBODY]

    def room(self, key: str) -> int:
        """How many more may be released under a key. Never less than none."""
        if self.workers is not None:
            return self.workers.room()
        left = []
        if self.rule.concurrency is not None:
            left.append(self.rule.concurrency - self.running[key] - self.reserved[key])
        if self.rule.starts is not None:
            left.append(self.rule.starts - self.starts[key] - self.reserved[key])
        return max(0, min(left))


@dataclass(slots=True)
class Workers:
    """What each live worker may still run of a rule that is for each: the room of one is not another's."""

    most: int  # At a time, of one worker.
    free: dict[str, int] = field(default_factory=dict)  # By worker.
    on: dict[str, set[str]] = field(default_factory=dict)  # By queue: the workers that consume it.
    elsewhere: int = 0  # Running in what is no live worker: a web process (celadon/fallback.py), or one that is gone.
    kept: Counter[str] = field(default_factory=Counter)  # Places, by queue.

    def room(self, queue: str | None = None) -> int:
        """How many more of a queue may be released, or of all. With no worker for them: what one would run."""
        able = self.free.keys() if queue is None else self.on.get(queue, set())
        if not able:
            return max(0, self.most - self.elsewhere - (self.kept.total() if queue is None else self.kept[queue]))
        kept = sum(many for other, many in self.kept.items() if queue is None or self.on.get(other, set()) & able)
        return max(0, sum(self.free[worker] for worker in able) - kept)


class Rooms:
    """The use of all rules of some gates; what is taken since they were counted is added."""

    def __init__(self) -> None:
        self.used: list[Used] = []
        self._at: dict[tuple[str, str], list[Used]] = {}

    def add(self, connection: Connection, gates: Iterable[Standing], now: datetime) -> None:
        """Count those gates that are not counted yet: all in one statement, so that no job is between two counts.

        now: the database's clock before that; windows end there.
        """
        limited = [gate for gate in gates if gate.rules and gate.id not in self._at]
        if not limited:
            return
        new = {gate.id: [_unused(gate, rule) for rule in gate.rules] for gate in limited}
        used = [one for at_gate in new.values() for one in at_gate]
        for row in _counted(connection, limited, used, now):
            if row.rule >= 0:
                used[row.rule].starts[row.tenant] = row.started
                continue
            for one in _of(Group(row.queue, row.name, row.tenant), new):
                one.running[one.key(row.tenant)] += row.running
                one.reserved[one.key(row.tenant)] += row.reserved
                if one.workers is not None:
                    one.workers.kept[row.queue] += row.reserved
        # After what is kept: who is claimed meanwhile is counted twice, and nobody not at all.
        _count_workers(connection, new)
        self.used += used
        self._at |= new

    def left(self, group: Group) -> int:
        """How many more jobs of a group all limits have room for."""
        return min((_left(one, group) for one in _of(group, self._at)), default=0)

    def take(self, group: Group) -> None:
        """Keep a place for one of them."""
        for one in _of(group, self._at):
            one.reserved[one.key(group.tenant)] += 1
            if one.workers is not None:
                one.workers.kept[group.queue] += 1

    def at_most(self, gate: Standing, queues: Collection[str]) -> int | None:
        """How many more of these queues a gate lets through in all; None: its rules don't say."""
        rooms = [
            one.room(EVERYBODY) if one.workers is None else sum(map(one.workers.room, queues))
            for one in self._at[gate.id]
            if one.rule.each != "tenant"
        ]
        return min(rooms, default=None)

    def by_worker(self, group: Group) -> bool:
        """Whether a claim may be refused although there is a place, since its worker is full."""
        return any(one.workers is not None for one in _of(group, self._at))


def _unused(gate: Standing, rule: Limit) -> Used:
    return Used(gate, rule, workers=Workers(rule.concurrency or 0) if rule.each == "worker" else None)


def _left(one: Used, group: Group) -> int:
    return one.room(one.key(group.tenant)) if one.workers is None else one.workers.room(group.queue)


def _of(group: Group, at: Mapping[tuple[str, str], list[Used]]) -> Iterator[Used]:
    """The rules that stand before a group."""
    for gate in group.gates:
        yield from at.get(gate, ())


def count(connection: Connection, gates: Iterable[Standing], now: datetime) -> Rooms:
    """The rooms of these gates, as `Rooms.add` counts them."""
    rooms = Rooms()
    rooms.add(connection, gates, now)
    return rooms


def _counted(connection: Connection, gates: Sequence[Standing], used: Sequence[Used], now: datetime) -> Result[Any]:
    """What runs and is kept by group, and the starts in the windows by rule, in one statement."""
    bound: dict[str, Any] = {f"b_{kind}s": found for kind in COLUMN if (found := names(gates, kind))}
    kinds, windows = tuple(kind for kind in COLUMN if f"b_{kind}s" in bound), []
    for kind in COLUMN:
        rules = [one for one in enumerate(used) if one[1].rule.starts is not None and one[1].gate.kind == kind]
        for place, (number, one) in enumerate(rules):
            since = now - timedelta(seconds=one.rule.window_s)
            row = {"rule": number, "gate": one.gate.name, "each": one.rule.each == "tenant", "since": since}
            bound |= {f"b_{kind}_{place}_{column}": value for column, value in row.items()}
        if rules:
            windows.append((kind, len(rules)))
    return connection.execute(_count(kinds, tuple(windows)), bound)


@lru_cache(maxsize=256)  # Building it costs more than running it.
def _count(kinds: tuple[str, ...], windows: tuple[tuple[str, int], ...]) -> CompoundSelect[Any]:
    return union_all(_in_use(kinds), *(_window(kind, rules) for kind, rules in windows))


def _in_use(kinds: Sequence[str]) -> Any:
    """SQL: jobs that run, or that a place is kept for, by group."""
    here: list[ColumnElement[bool]] = [COLUMN[kind].in_(bindparam(f"b_{kind}s", expanding=True)) for kind in kinds]
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


def _window(kind: str, many: int) -> Any:
    """SQL: how many starts stand in the windows of so many rules at gates of one kind."""
    columns: dict[str, Any] = {"rule": Integer, "gate": String, "each": Boolean, "since": Instant}
    data = [
        tuple(bindparam(f"b_{kind}_{place}_{name}", type_=of) for name, of in columns.items()) for place in range(many)
    ]
    rules = values(*(column(name, of) for name, of in columns.items())).data(data).cte(f"rules_of_{kind}")
    key = case((rules.c.each, func.coalesce(starts.c.tenant, EVERYBODY)), else_=EVERYBODY)
    nothing: ColumnElement[str] = cast(null(), String)
    none: ColumnElement[int] = cast(null(), Integer)
    return (
        select(
            rules.c.rule,
            nothing.label("queue"),
            nothing.label("name"),
            key.label("tenant"),
            none.label("running"),
            none.label("reserved"),
            func.count().label("started"),
        )
        .join_from(rules, starts, and_(_START_COLUMN[kind] == rules.c.gate, starts.c.at > rules.c.since))
        .group_by(rules.c.rule, literal_column("4"))
    )


def _count_workers(connection: Connection, at: Mapping[tuple[str, str], list[Used]]) -> None:
    """For the rules that are for each worker: who is alive, and what runs there."""
    for_each = [(one.gate, one.workers) for used in at.values() for one in used if one.workers is not None]
    if not for_each:
        return
    for living in alive_on(connection):
        for _, of in for_each:
            of.free[living.id] = min(of.most, living.concurrency)
            for queue in living.queues:
                of.on.setdefault(queue, set()).add(living.id)
    here = or_(*(COLUMN[gate.kind] == gate.name for gate, _ in for_each))
    running = select(jobs.c.queue, jobs.c.name, TENANT.label("tenant"), jobs.c.claimed_by)
    for row in connection.execute(running.where(in_state(State.RUNNING), here)):
        worker = boot_of(row.claimed_by) or row.claimed_by
        for one in _of(Group(row.queue, row.name, row.tenant), at):
            if one.workers is None:
                continue
            if worker in one.workers.free:
                one.workers.free[worker] = max(0, one.workers.free[worker] - 1)
            else:
                one.workers.elsewhere += 1
