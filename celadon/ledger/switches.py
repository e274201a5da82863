"""What operators turn at run time: pause a queue, a job name or a tenant; take a queue or name off the broker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from celadon.errors import InvalidOption
from celadon.ids import new_id
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.gates import pausing
from celadon.ledger.tables import audit, switches
from celadon.ledger.writing import upsert
from celadon.limits import Kind
from celadon.reasons import checked
from celadon.times import instant, seconds


def pause(
    kind: Kind,
    name: str,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    for_s: float | None = None,
    actor: str = "operator",
) -> datetime | None:
    """Hold the jobs of a queue, a name or a tenant. What runs goes on.

    reason: shown to whoever looks, up to 200 characters. until (an aware time) or for_s (seconds, more than 0): when
    the pause ends by itself; neither: it stands until `resume`. One that stands there gets this reason and this end.
    Returns when it ends. Raises InvalidOption, LedgerUnavailable.
    """
    if until is not None and for_s is not None:
        raise InvalidOption("until and for_s both say when the pause ends; give one", option="until")
    ends, length, why = instant("until", until), seconds("for_s", for_s), checked(reason)
    if length == 0:
        raise InvalidOption("for_s=0: a pause takes longer than that; to end one, resume", option="for_s")
    with begin() as connection:
        now = clock(connection)
        if ends is not None and ends <= now:
            raise InvalidOption(f"until={ends.isoformat()} is past; it is {now:%Y-%m-%d %H:%M:%S} UTC", option="until")
        if length is not None:
            ends = connection.execute(select(at(length))).scalar_one()
        _set(connection, kind, name, actor, "pause", paused=True, until=ends, reason=why)
    return ends


def resume(kind: Kind, name: str, *, actor: str = "operator") -> bool:
    """End a pause: held jobs go on, as far as their limits allow. Returns whether there was one.

    Raises LedgerUnavailable.
    """
    paused_here = (switches.c.kind == kind) & (switches.c.name == name) & switches.c.paused.is_(True)
    ended = {"paused": False, "until": None, "reason": None}
    with begin() as connection:
        found = connection.execute(update(switches).where(paused_here).values(ended)).rowcount > 0
        if found:
            note(connection, actor, "resume", f"{kind} {name}", ended)
    return found


def turn(kind: Kind, name: str, *, use_broker: bool, actor: str = "operator") -> None:
    """Take a queue or a job name off the broker, or put it back. Raises InvalidOption, LedgerUnavailable."""
    if kind == "tenant":
        raise InvalidOption("the broker is switched by queue or job name, not by tenant", option="kind")
    with begin() as connection:
        _set(connection, kind, name, actor, "switch", use_broker=use_broker)


def _set(connection: Connection, kind: str, name: str, actor: str, action: str, **values: Any) -> None:
    connection.execute(
        upsert(connection, switches)
        .values(kind=kind, name=name, **values)
        .on_conflict_do_update(index_elements=["kind", "name"], set_=values)
    )
    note(connection, actor, action, f"{kind} {name}", values)


def note(connection: Connection, actor: str, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Keep who did what."""
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in detail.items()}
    connection.execute(
        audit.insert().values(id=new_id(), at=at(), actor=actor, action=action, subject=subject[:200], detail=plain)
    )


def off_broker() -> set[tuple[str, str]]:
    """(kind, name) of everything that is taken off the broker."""
    with reading() as connection:
        rows = connection.execute(select(switches.c.kind, switches.c.name).where(switches.c.use_broker.is_(False)))
        return {(row.kind, row.name) for row in rows}


def paused() -> set[tuple[str, str]]:
    """(kind, name) of everything that is paused now."""
    with reading() as connection:
        rows = connection.execute(select(switches.c.kind, switches.c.name).where(pausing()))
        return {(row.kind, row.name) for row in rows}
