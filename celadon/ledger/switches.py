"""What operators turn at run time: pause a queue, a job name or a tenant; take a queue or name off the broker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from celadon.errors import InvalidOption
from celadon.ids import new_id
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.gates import pausing
from celadon.ledger.tables import audit, switches
from celadon.ledger.writing import upsert
from celadon.limits import Kind
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

    until (an aware time) or for_s (seconds): when the pause ends by itself; neither: it stands until `resume`.
    Returns when it ends. Raises InvalidOption, LedgerUnavailable.
    """
    if until is not None and for_s is not None:
        raise InvalidOption("until and for_s both say when the pause ends; give one", option="until")
    ends, length = instant("until", until), seconds("for_s", for_s)
    with begin() as connection:
        now = clock(connection)
        if ends is not None and ends <= now:
            raise InvalidOption(f"until={ends.isoformat()} is past; it is {now:%Y-%m-%d %H:%M:%S} UTC", option="until")
        if length is not None:
            ends = connection.execute(select(at(length))).scalar_one()
        _set(connection, kind, name, actor, "pause", paused=True, until=ends, reason=reason)
    return ends


def resume(kind: Kind, name: str, *, actor: str = "operator") -> None:
    """End a pause: held jobs go on, as far as their limits allow. Raises LedgerUnavailable."""
    with begin() as connection:
        _set(connection, kind, name, actor, "resume", paused=False, until=None, reason=None)


def turn(kind: Kind, name: str, *, actor: str = "operator", **values: Any) -> None:
    """Set `use_broker`, or `paused` and `reason`, of a queue or job name. Raises InvalidOption, LedgerUnavailable."""
    if kind == "tenant" and "use_broker" in values:
        raise InvalidOption("the broker is switched by queue or job name, not by tenant", option="kind")
    with begin() as connection:
        _set(connection, kind, name, actor, "switch", **values)


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
