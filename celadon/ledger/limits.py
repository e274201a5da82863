"""Limits as rows: setting them at run time, what they are and how far they are used, and giving places (`release`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, func, literal, or_, select, update

from celadon.ledger import gates as rows
from celadon.ledger import releasing, room
from celadon.ledger.db import begin, clock, reading
from celadon.ledger.forgetting import forget_starts
from celadon.ledger.gates import COLUMN, Standing
from celadon.ledger.releasing import BATCH, release, somebody_waits
from celadon.ledger.switches import note
from celadon.ledger.tables import in_state, jobs, starts, switches
from celadon.ledger.writing import upsert
from celadon.limits import Kind, Limit, declared, generation, parsed, registered, together
from celadon.states import State

__all__ = [
    "BATCH",
    "Gate",
    "Use",
    "add",
    "every",
    "find",
    "forget_starts",
    "lines",
    "release",
    "reset",
    "set_limits",
    "somebody_waits",
    "sync",
]

CONFIG, FILE = "config", "file"  # Where limits come from that nobody has set at run time.
WAITING_MOST = 10_000
KEYS_MOST = 100  # Tenants that a rule is told for: those that use it most.


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How far one rule is used, under one key."""

    rule: Limit
    key: str | None  # The tenant of a rule that is for each of them; None: no tenant, or all together.
    running: int
    reserved: int  # Released, and not claimed yet.
    starts: int  # In the rule's window and its margin; 0 if it has none.
    room: int  # How many more may be released now, by this rule alone.


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What operators turned or configured of one queue, job name or tenant, and its present use."""

    kind: Kind
    name: str
    rules: tuple[Limit, ...]
    source: str | None  # Of the rules: config | file | api. None: there have never been any.
    paused: bool  # Now: a pause whose end has come is none.
    until: datetime | None  # When the pause ends by itself.
    reason: str | None
    use_broker: bool
    waiting: int  # Jobs that wait here, counted no further than WAITING_MOST.
    uses: tuple[Use, ...]  # Of a rule for each tenant: those who use it, KEYS_MOST at most.

    @property
    def decided(self) -> bool:
        """There are rules, or an operator has said that there are none, whatever the configuration says."""
        return bool(self.rules) or self.source == "api"


# --- setting ----------------------------------------------------------------------------------------------------------


def set_limits(kind: Kind, name: str, rules: Sequence[Limit], *, actor: str) -> None:
    """Limit a queue, a job's name or a tenant from now on, instead of what stood there. No rules: no limit.

    It stands until `reset`, whatever the configuration says. What runs goes on; what was about to run waits for its
    turn again. A window counts what starts from now on, and what runs now. Raises InvalidLimit, LedgerUnavailable.
    """
    made = together(kind, rules)
    with begin() as connection:
        releasing.lock(connection)
        _set_by(actor, connection, kind, name, made)


def add(kind: Kind, name: str, rule: Limit, *, actor: str) -> tuple[Limit, ...]:
    """One limit more, beside those that stand there at that moment. Returns all of them.

    Otherwise as `set_limits`. Raises InvalidLimit, LedgerUnavailable.
    """
    here = (switches.c.kind == kind) & (switches.c.name == name)
    with begin() as connection:
        releasing.lock(connection)  # So that who adds at the same moment finds this one.
        there = connection.execute(select(switches.c.limits).where(here)).scalar()
        made = together(kind, (*parsed(there or ()), rule))
        _set_by(actor, connection, kind, name, made)
    return made


def reset(kind: Kind, name: str, *, actor: str) -> tuple[Limit, ...]:
    """Back to what `celeryconfig.limits` of this process declares, or to no limit. Returns what holds now.

    Of a delegated queue: to what the registration file of this process says. Raises InvalidLimit, LedgerUnavailable.
    """
    configured, of_file = declared().get((kind, name), ()), registered().get((kind, name))
    rules, source = (configured, CONFIG) if of_file is None else (of_file, FILE)
    with begin() as connection:
        releasing.lock(connection)
        _set(connection, kind, name, rules, limits_source=source, generation=generation() if source == CONFIG else 0)
        note(connection, actor, "reset limit", f"{kind} {name}", {"limits": [rule.as_dict() for rule in rules]})
    return rules


def sync(configured: Mapping[tuple[Kind, str], Sequence[Limit]], generation: int) -> list[str]:
    """Make the configured limits equal to `configured`. What was set at run time stands, and what is newer.

    A gate that is no longer configured keeps its row, so that a scheduler with an older configuration does not bring
    its limit back. Returns the gates, such as "job orders.process", that a newer generation has configured. Raises
    LedgerUnavailable.
    """
    with begin() as connection:
        return sync_on(connection, configured, generation, source=CONFIG)


def sync_on(
    connection: Connection,
    configured: Mapping[tuple[Kind, str], Sequence[Limit]],
    generation: int,
    *,
    source: str,
) -> list[str]:
    """The same, in a transaction that is under way, and for the limits of one source: CONFIG or FILE."""
    releasing.lock(connection)
    found = {(row.kind, row.name): row for row in connection.execute(select(switches))}
    ours = {gate for gate, row in found.items() if row.limits_source == source}
    for kind, name in sorted(configured.keys() | ours):
        row, rules = found.get((kind, name)), tuple(configured.get((kind, name), ()))
        newer = row is not None and row.limits_source == source and row.generation > generation
        if newer or (row is not None and row.limits_source == "api"):
            continue
        there = () if row is None else parsed(row.limits or ())
        if row is None or (there, row.limits_source, row.generation) != (rules, source, generation):
            _set(connection, kind, name, rules, limits_source=source, generation=generation)
    return [f"{kind} {name}" for kind, name in sorted(ours) if found[kind, name].generation > generation]


def _set_by(actor: str, connection: Connection, kind: Kind, name: str, rules: Sequence[Limit]) -> None:
    _set(connection, kind, name, rules, limits_source="api")
    note(connection, actor, "limit", f"{kind} {name}", {"limits": [rule.as_dict() for rule in rules]})


def _set(connection: Connection, kind: str, name: str, rules: Sequence[Limit], **of: Any) -> None:
    """Write the rules, under the lock of the releases."""
    values = {"limits": [rule.as_dict() for rule in rules] or None, **of}
    connection.execute(
        upsert(connection, switches)
        .values(kind=kind, name=name, **values)
        .on_conflict_do_update(index_elements=["kind", "name"], set_=values)
    )
    # The places that were kept were of other limits: they are given anew, a moment later.
    here = COLUMN[kind] == name
    connection.execute(
        update(jobs)
        .where(here, jobs.c.reserved_at.is_not(None), in_state(State.QUEUED))
        .values(state=State.WAITING, send_due=None, reserved_at=None)
    )
    if any(rule.starts for rule in rules):
        of_running = select(jobs.c.id, jobs.c.epoch, jobs.c.queue, jobs.c.name, jobs.c.tenant, jobs.c.claimed_at)
        connection.execute(
            upsert(connection, starts)
            .from_select(["job_id", "epoch", "queue", "name", "tenant", "at"], of_running.where(here, _RUNNING))
            .on_conflict_do_nothing()
        )


_RUNNING = in_state(State.RUNNING)


# --- looking ----------------------------------------------------------------------------------------------------------


def every() -> list[Gate]:
    """All gates with a limit or a switch that is turned, and their present use, by kind and name."""
    turned = or_(
        switches.c.limits.is_not(None),
        switches.c.limits_source == "api",
        switches.c.use_broker.is_(False),
        rows.pausing(),
    )
    return _gates(turned)


def lines() -> dict[tuple[str, ...], int]:
    """How many wait at each queue and name that is limited or paused, counted no further than WAITING_MOST."""
    with reading() as connection:
        gates = [gate for gate in rows.standing(connection) if gate.kind != "tenant"]
        return {gate.id: _waiting(connection, gate.kind, gate.name) for gate in gates}


def find(kind: Kind, name: str) -> Gate:
    """One gate with its present use; one that nobody has turned is open."""
    found = _gates((switches.c.kind == kind) & (switches.c.name == name))
    if found:
        return found[0]
    with reading() as connection:
        waits = _waiting(connection, kind, name)
    facts: dict[str, Any] = {"kind": kind, "name": name, "rules": (), "source": None, "uses": (), "waiting": waits}
    return Gate(**facts, paused=False, until=None, reason=None, use_broker=True)


def _gates(which: Any) -> list[Gate]:
    is_paused = case((rows.pausing(), True), else_=False).label("is_paused")
    with reading() as connection:
        found = connection.execute(
            select(switches, is_paused).where(which).order_by(switches.c.kind, switches.c.name)
        ).all()
        standing = [
            Standing(kind=row.kind, name=row.name, paused=row.is_paused, rules=parsed(row.limits or ()), turn="")
            for row in found
        ]
        rooms = room.count(connection, standing, clock(connection))
        return [
            _gate(row, gate, rooms, _waiting(connection, gate.kind, gate.name))
            for row, gate in zip(found, standing, strict=True)
        ]


def _gate(row: Row[Any], gate: Standing, rooms: room.Rooms, waits: int) -> Gate:
    paused = bool(row.is_paused)
    return Gate(
        kind=gate.kind,
        name=gate.name,
        rules=gate.rules,
        source=row.limits_source,
        paused=paused,
        until=row.until if paused else None,
        reason=row.reason if paused else None,
        use_broker=row.use_broker,
        waiting=waits,
        uses=tuple(use for used in rooms.used if used.gate.id == gate.id for use in _uses(used)),
    )


def _uses(used: room.Used) -> list[Use]:
    keys = sorted(used.keys(), key=lambda key: (used.room(key), key))[:KEYS_MOST]
    return [
        Use(
            rule=used.rule,
            key=key or None,
            running=used.running[key],
            reserved=used.reserved[key],
            starts=used.starts[key],
            room=used.room(key),
        )
        for key in keys
    ]


def _waiting(connection: Connection, kind: str, name: str) -> int:
    some = select(literal(1)).where(in_state(State.WAITING), COLUMN[kind] == name).limit(WAITING_MOST).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
