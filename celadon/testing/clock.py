"""Time that passes when a test says so.

The ledger's clock is the database's own, and production code is not changed for the sake of tests. So it is the ledger
that grows older: every time in it moves back by the same span, and what lay in the future comes nearer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Column, func, update

from celadon.ledger.db import Instant, begin
from celadon.ledger.tables import metadata

_FAR = timedelta(days=365_250)


def advance(span: timedelta) -> None:
    """Make everything in the ledger older by `span`, in one transaction."""
    if span < timedelta(0):
        raise ValueError(f"advance({span!r}): time only goes forward")
    with begin() as connection:
        for table in metadata.sorted_tables:
            times = [column for column in table.columns if isinstance(column.type, Instant)]
            # By way of the far past: in one move a row could meet the unique due time of one that has yet to move.
            for move in (-span - _FAR, _FAR):
                if times:
                    connection.execute(update(table).values({column: _moved(column, move) for column in times}))


def _moved(column: Column[Any], span: timedelta) -> Any:
    return func.strftime("%Y-%m-%d %H:%M:%f", column, f"{span.total_seconds():+.3f} seconds")
