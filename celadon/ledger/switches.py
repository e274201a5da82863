"""What operators turn at run time: pause a queue or a job name, take it off the broker."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select

from celadon.ledger.db import begin, reading
from celadon.ledger.tables import switches
from celadon.ledger.writing import upsert

Kind = Literal["queue", "job"]


def turn(kind: Kind, name: str, **values: Any) -> None:
    """Set `paused`, `use_broker` or `reason` of a queue or job name."""
    with begin() as connection:
        connection.execute(
            upsert(connection, switches)
            .values(kind=kind, name=name, **values)
            .on_conflict_do_update(index_elements=["kind", "name"], set_=values)
        )


def off_broker() -> set[tuple[str, str]]:
    """(kind, name) of everything that is taken off the broker."""
    with reading() as connection:
        rows = connection.execute(select(switches.c.kind, switches.c.name).where(switches.c.use_broker.is_(False)))
        return {(row.kind, row.name) for row in rows}


def paused() -> set[tuple[str, str]]:
    """(kind, name) of everything that is paused."""
    with reading() as connection:
        rows = connection.execute(select(switches.c.kind, switches.c.name).where(switches.c.paused.is_(True)))
        return {(row.kind, row.name) for row in rows}
