"""Gates as rows: whether a queue, a name or a tenant is paused or limited, asked in SQL and read as values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, or_, select

from celadon.ledger.db import at
from celadon.ledger.tables import in_state, jobs, switches
from celadon.limits import Kind, Limit, parse
from celadon.states import State

COLUMN = {"queue": jobs.c.queue, "job": jobs.c.name, "tenant": jobs.c.tenant}
"""The column of a job that a gate of each kind is about."""


class Group(NamedTuple):
    """Jobs that stand before the same gates."""

    queue: str
    name: str
    tenant: str  # Empty: they have none.

    @property
    def gates(self) -> set[tuple[str, str]]:
        """(kind, name) of all that could hold them."""
        return {("queue", self.queue), ("job", self.name), *([("tenant", self.tenant)] if self.tenant else [])}


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A gate that is paused or limited now."""

    kind: Kind
    name: str
    paused: bool
    rules: tuple[Limit, ...]
    turn: str  # The tenant that was served last; empty: one without.

    @property
    def id(self) -> tuple[str, str]:
        return self.kind, self.name


def pausing() -> ColumnElement[bool]:
    """SQL: the switch is a pause that has not ended by itself."""
    return and_(switches.c.paused.is_(True), or_(switches.c.until.is_(None), switches.c.until > at()))


def held(queue: Any = jobs.c.queue, name: Any = jobs.c.name, tenant: Any = jobs.c.tenant) -> ColumnElement[bool]:
    """SQL: the job's queue, name or tenant is paused or limited, so that it waits for a release."""
    return _some(or_(switches.c.limits.is_not(None), pausing()), queue, name, tenant)


def stopped() -> ColumnElement[bool]:
    """SQL: the job's queue, name or tenant is paused."""
    return _some(pausing(), jobs.c.queue, jobs.c.name, jobs.c.tenant)


def refused() -> ColumnElement[bool]:
    """SQL: the job can't be claimed as it is: it is paused, or limited and no place is kept for it."""
    unplaced = and_(switches.c.limits.is_not(None), jobs.c.reserved_at.is_(None))
    return _some(or_(unplaced, pausing()), jobs.c.queue, jobs.c.name, jobs.c.tenant)


def _some(which: Any, queue: Any, name: Any, tenant: Any) -> ColumnElement[bool]:
    return exists().where(which, of(queue, name, tenant))


def of(queue: Any, name: Any, tenant: Any) -> ColumnElement[bool]:
    """SQL: the switch stands at one of these."""
    return or_(
        and_(switches.c.kind == "queue", switches.c.name == queue),
        and_(switches.c.kind == "job", switches.c.name == name),
        and_(switches.c.kind == "tenant", switches.c.name == tenant),
    )


def _named(kind: str) -> ColumnElement[bool]:
    return and_(switches.c.kind == kind, switches.c.name.in_(bindparam(f"b_{kind}s", expanding=True)))


# Built once: building them costs more than running them.
_STANDING = (
    select(
        switches.c.kind,
        switches.c.name,
        switches.c.limits,
        switches.c.turn,
        case((pausing(), True), else_=False).label("is_paused"),
    )
    .where(or_(switches.c.limits.is_not(None), pausing()))
    .order_by(switches.c.kind, switches.c.name)
)
_STANDING_BEFORE = _STANDING.where(or_(*map(_named, COLUMN)))
_LIMITED_TENANTS = select(switches.c.name).where(
    switches.c.limits.is_not(None),
    switches.c.kind == "tenant",
    exists().where(in_state(State.WAITING), jobs.c.tenant == switches.c.name),
)
_LIMITED_OF_THESE = _LIMITED_TENANTS.where(_named("tenant"))


def standing(connection: Connection) -> list[Standing]:
    """All gates that are paused or limited now. There may be one for each tenant."""
    return _as_standing(connection.execute(_STANDING))


def standing_before(
    connection: Connection, pairs: Collection[tuple[str, str]] = (), tenants: Collection[str] = ()
) -> list[Standing]:
    """Those of the queues and names of these (queue, name), and of these tenants."""
    if not pairs and not tenants:
        return []
    queues, names_of = {queue for queue, _ in pairs}, {name for _, name in pairs}
    asked = {"b_queues": list(queues), "b_jobs": list(names_of), "b_tenants": list(tenants)}
    return _as_standing(connection.execute(_STANDING_BEFORE, asked))


def _as_standing(rows: Iterable[Any]) -> list[Standing]:
    return [
        Standing(
            kind=row.kind,
            name=row.name,
            paused=bool(row.is_paused),
            rules=_rules(row.limits),
            turn=row.turn or "",
        )
        for row in rows
    ]


def _rules(stored: Iterable[Mapping[str, Any]] | None) -> tuple[Limit, ...]:
    """The rules of a row. Each is parsed once: every release reads them all again."""
    return tuple(_rule(tuple(one.items())) for one in stored or ())


@lru_cache(maxsize=1024)
def _rule(facts: tuple[tuple[str, Any], ...]) -> Limit:
    return parse(dict(facts))


def limited_tenants(connection: Connection, of: Collection[str] | None) -> list[str]:
    """Tenants that are limited and have jobs waiting, for whatever reason; of these, or of all (None)."""
    if of is None:
        return list(connection.scalars(_LIMITED_TENANTS))
    return list(connection.scalars(_LIMITED_OF_THESE, {"b_tenants": list(of)})) if of else []


_RULES_OF = select(switches.c.kind, switches.c.name, switches.c.limits).where(
    switches.c.limits.is_not(None),
    of(bindparam("b_queue"), bindparam("b_name"), bindparam("b_tenant", type_=jobs.c.tenant.type)),
)


def rules_of(connection: Connection, queue: str, name: str, tenant: str | None) -> list[tuple[Kind, str, Limit]]:
    """Every rule that holds for such a job, with the gate it stands at."""
    rows = connection.execute(_RULES_OF, {"b_queue": queue, "b_name": name, "b_tenant": tenant})
    return [(row.kind, row.name, rule) for row in rows for rule in _rules(row.limits)]


def why_waiting(standing: Mapping[tuple[str, str], Standing], group: Group) -> str:
    """In words, what of all that stands, by its id, holds such a job: a pause, or limits whose turn it waits for."""
    told = [_words(standing[gate]) for gate in sorted(group.gates) if gate in standing]
    return "; ".join(told) or "it is released at the scheduler's next tick"


def _words(gate: Standing) -> str:
    if gate.paused:
        return f"{gate.kind} {gate.name!r} is paused"
    return f"it waits for its turn: {gate.kind} {gate.name!r} is limited to " + ", and ".join(map(str, gate.rules))


def names(gates: Sequence[Standing], kind: str) -> list[str]:
    """The names of the gates of one kind."""
    return [gate.name for gate in gates if gate.kind == kind]
