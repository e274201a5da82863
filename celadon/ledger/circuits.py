"""Circuits as rows: whether an endpoint can be connected to, as the whole fleet has found it.

A circuit opens after some failures to connect in a row, whoever met them. While it is open the queues of its endpoint
are paused, so that their backlog stays in the ledger. When its time is over, one delivery is elected to try (it moves
the time on for all others): it closes the circuit, or opens it for twice as long.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, true, update

from celadon.ledger.db import at, begin, reading
from celadon.ledger.gates import pausing
from celadon.ledger.switches import note
from celadon.ledger.tables import circuits, switches
from celadon.ledger.writing import upsert

FAILURES = 5  # In a row: fewer may be one restart of the service, met by as many deliveries.
FIRST_S = 2.0  # How long a circuit is open at first,
LONGEST_S = 60.0  # and at most, however often the endpoint was tried: so long it may be back before anybody notices.
ACTOR = "circuit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """An endpoint in trouble. One that is not listed is closed."""

    service: str
    failures: int  # To connect, in a row.
    failed_at: datetime
    reason: str  # Of the last failure.
    open_for_s: float | None  # None: it is closed still; 0 or less: somebody may be elected to try.

    @property
    def open(self) -> bool:
        return self.open_for_s is not None


def troubled() -> dict[str, Circuit]:
    """Every endpoint that could not be connected to lately, by service. Raises LedgerUnavailable."""
    with reading() as connection:
        rows = connection.execute(select(circuits, at().label("now"))).all()
    return {
        row.service: Circuit(
            service=row.service,
            failures=row.failures,
            failed_at=row.failed_at,
            reason=row.reason,
            open_for_s=None if row.open_until is None else (row.open_until - row.now).total_seconds(),
        )
        for row in rows
    }


def failed(service: str, reason: str, queues: Collection[str], *, probe: bool) -> float | None:
    """An endpoint could not be connected to. How long its circuit is open from now on; None: that did not open it.

    queues: the endpoint's; they are paused for so long, where nobody else has paused them. probe: by who was elected.
    Raises LedgerUnavailable.
    """
    fresh = {"failed_at": at(), "reason": reason[:2000]}
    with begin() as connection:
        row = connection.execute(
            upsert(connection, circuits)
            .values(service=service, failures=1, openings=0, **fresh)
            .on_conflict_do_update(index_elements=["service"], set_={"failures": circuits.c.failures + 1, **fresh})
            .returning(circuits.c.failures, circuits.c.openings)
        ).one()
        # While it is open only the word of the elected counts: others began before it opened.
        if (row.openings and not probe) or (row.failures < FAILURES and not row.openings):
            return None
        open_s = min(FIRST_S * float(2 ** min(row.openings, 10)), LONGEST_S)
        connection.execute(
            update(circuits)
            .where(circuits.c.service == service)
            .values(openings=circuits.c.openings + 1, open_until=at(open_s))
        )
        _hold(connection, service, queues, open_s, reason)
        if not row.openings:
            note(connection, ACTOR, "open", service, {"reason": reason[:200]})
    return open_s


def elect(service: str, queues: Collection[str], *, probe_s: float) -> bool:
    """Whether the caller is the one who may try an endpoint whose circuit has been open for long enough.

    probe_s: how long the try may take; if nothing was heard of it by then, another is elected. Until then the queues
    stay paused. Raises LedgerUnavailable.
    """
    with begin() as connection:
        elected = connection.execute(
            update(circuits)
            .where(circuits.c.service == service, circuits.c.open_until <= at())
            .values(open_until=at(probe_s))
            .returning(circuits.c.reason)
        ).scalar()
        if elected is not None:
            _hold(connection, service, queues, probe_s, elected)
    return elected is not None


def connected(service: str, queues: Collection[str], *, probe: bool) -> bool:
    """An endpoint could be connected to: forget its failures. Whether that closed its circuit.

    queues: the endpoint's; they go on. Of who was not elected it counts while the circuit is closed: an answer that was
    long in coming says nothing of connections now. Raises LedgerUnavailable.
    """
    with begin() as connection:
        counts = true() if probe else circuits.c.openings == 0
        openings = connection.execute(
            delete(circuits).where(circuits.c.service == service, counts).returning(circuits.c.openings)
        ).scalar()
        if not openings:
            return False
        connection.execute(
            update(switches)
            .where(switches.c.kind == "queue", switches.c.name.in_(queues), _ours(service))
            .values(paused=False, until=None, reason=None)
        )
        note(connection, ACTOR, "close", service, {"openings": openings})
    return True


def _hold(connection: Connection, service: str, queues: Collection[str], seconds: float, reason: str) -> None:
    """Pause the queues for so long; a pause of somebody else's stands."""
    pause = {"paused": True, "until": at(seconds), "reason": f"{_prefix(service)}{reason}"[:200]}
    for queue in sorted(queues):  # In one order, so that two that open at once do not wait for each other.
        connection.execute(
            upsert(connection, switches)
            .values(kind="queue", name=queue, **pause)
            .on_conflict_do_update(index_elements=["kind", "name"], set_=pause, where=or_(~pausing(), _ours(service)))
        )


def _prefix(service: str) -> str:
    return f"circuit of {service}: "


def _ours(service: str) -> ColumnElement[bool]:
    """SQL: the switch is a pause that the circuit has made."""
    return and_(
        switches.c.paused.is_(True),
        switches.c.until.is_not(None),
        switches.c.reason.startswith(_prefix(service), autoescape=True),
    )
