"""Time that passes when a test says so.

The ledger's clock is the database's own, and production code is not changed for the sake of tests. So it is the ledger
that grows older: every time in it moves back by the same span, and what lay in the future comes nearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, func, update

from celadon import due
from celadon.ledger.db import Instant, begin
from celadon.ledger.tables import metadata

_FAR = timedelta(days=365_250)
_LEAST = timedelta(milliseconds=1)  # That the ledger keeps.


def advance(span: timedelta) -> timedelta:
    """Make everything in the ledger older by `span`, in one transaction; by how much it has, to the millisecond."""
    if span < timedelta(0):
        raise ValueError(f"advance({span!r}): time only goes forward")
    span = round(span / _LEAST) * _LEAST
    with begin() as connection:
        for table in metadata.sorted_tables:
            times = [column for column in table.columns if isinstance(column.type, Instant)]
            # By way of the far past: in one move a row could meet the unique due time of one that has yet to move.
            for move in (-span - _FAR, _FAR):
                if times:
                    connection.execute(update(table).values({column: _moved(column, move) for column in times}))
    return span


@dataclass(frozen=True, slots=True)
class Rules:
    """`celadon.due` on a ledger that was made older: rules are kept by the clock as if the span had passed."""

    passed: timedelta

    def latest(self, rule: Mapping[str, Any], first: datetime, now: datetime) -> datetime:
        return due.latest(rule, first + self.passed, now + self.passed) - self.passed

    def following(self, rule: Mapping[str, Any], after: datetime) -> datetime:
        return due.following(rule, after + self.passed) - self.passed


def _moved(column: Column[Any], span: timedelta) -> Any:
    return func.strftime("%Y-%m-%d %H:%M:%f", column, f"{span.total_seconds():+.3f} seconds")
