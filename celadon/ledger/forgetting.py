"""Forgetting starts: what no window of any gate that it came through looks back at any more.

A start is kept for the longest window of its own queue, name and tenant, not of all: five starts a day of one job don't
keep the five hundred a second of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from math import ceil, log
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, tuple_

from celadon.ledger.db import begin, by
from celadon.ledger.gates import Standing, standing
from celadon.ledger.tables import starts

KEEP_STARTS_S = 60.0  # At least: a window may be set whose past is of use.
BATCH = 5_000  # Starts looked at in a transaction: some tens of milliseconds, for which SQLite takes no other write.
ROUNDS = 4  # Transactions of one turn.
STEP = 1.25  # Between two lengths of windows that are told apart.

_COLUMN = {"queue": starts.c.queue, "job": starts.c.name, "tenant": starts.c.tenant}
_looked_to: datetime | None = None  # How far the last turn came, of what is kept for a long window; None: to the end.


def forget_starts() -> int:
    """Remove starts that no window looks back at any more; how many.

    A turn looks at 20,000 at most, and the next goes on from there. Raises LedgerUnavailable.
    """
    global _looked_to
    gone = 0
    for _ in range(ROUNDS):
        with begin() as connection:
            removed, _looked_to = _forget(connection, _looked_to)
        gone += removed
        if _looked_to is None:
            break
    return gone


def _forget(connection: Connection, after: datetime | None) -> tuple[int, datetime | None]:
    """Look at the next starts; how many were removed, and where those end. None: there are no more."""
    here = [starts.c.at < by(-KEEP_STARTS_S), *([starts.c.at > after] if after is not None else [])]
    upto = connection.scalar(select(starts.c.at).where(*here).order_by(starts.c.at).offset(BATCH - 1).limit(1))
    if upto is not None:
        here.append(starts.c.at <= upto)
    # Two schedulers may be at it at once: neither waits for the other.
    old = (
        select(starts.c.job_id, starts.c.epoch)
        .where(*here, ~_looked_back_at(standing(connection)))
        .with_for_update(skip_locked=True)
    )
    key = tuple_(starts.c.job_id, starts.c.epoch)
    return int(connection.execute(delete(starts).where(key.in_(old))).rowcount), upto


def _looked_back_at(gates: Sequence[Standing]) -> ColumnElement[bool]:
    """SQL: the start stands in a window of a gate that it came through.

    Windows are rounded up, by a quarter at most: so there are few of them, however many gates.
    """
    names: dict[tuple[int, str], list[str]] = defaultdict(list)
    for gate in gates:
        window_s = max((rule.window_s for rule in gate.rules), default=0.0)
        if window_s > KEEP_STARTS_S:
            names[ceil(log(window_s, STEP)), gate.kind].append(gate.name)
    windows: list[Any] = [
        and_(_COLUMN[kind].in_(some), starts.c.at > by(-(STEP**step))) for (step, kind), some in names.items()
    ]
    return or_(*windows) if windows else starts.c.at.is_(None)
