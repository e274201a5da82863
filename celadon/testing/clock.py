"""Time that passes when a test says so.

The ledger's clock is the database's own, and production code is not changed for the sake of tests. So it is the ledger
that grows older: every time in it moves back by the same span, and what lay in the future comes nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, func, update

from celadon import due
from celadon.due import LEAST, ORIGIN, Rule
from celadon.ledger.db import Instant, begin
from celadon.ledger.tables import metadata
from celadon.schedules import rule_of

_FAR = timedelta(days=365_250)


def advance(span: timedelta) -> timedelta:
    """Make everything in the ledger older by `span`, in one transaction; by how much it has, to the millisecond."""
    if span < timedelta(0):
        raise ValueError(f"advance({span!r}): time only goes forward")
    span = round(span / LEAST) * LEAST
    with begin() as connection:
        for table in metadata.sorted_tables:
            times = [column for column in table.columns if isinstance(column.type, Instant)]
            # By way of the far past: in one move a row could meet the unique due time of one that has yet to move.
            for move in (-span - _FAR, _FAR):
                if times:
                    connection.execute(update(table).values({column: _moved(column, move) for column in times}))
    return span


class Rules:
    """`celadon.due` on a ledger that was made older: rules are kept by the clock as if the span had passed."""

    ORIGIN, LEAST = ORIGIN, LEAST

    def __init__(self) -> None:
        self.passed = timedelta(0)

    def rule_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A rule as a caller tells it. Like every time in a call, `at` means the clock that does not move."""
        at = given.get("at")
        return rule_of({**given, "at": at + self.passed} if isinstance(at, datetime) else given)

    def last(self, rule: Rule, since: datetime, now: datetime, most: int) -> list[datetime]:
        return self._back(due.last(rule, since + self.passed, now + self.passed, most))

    def within(
        self, rule: Rule, after: datetime, starts_at: datetime | None = None, ends_at: datetime | None = None
    ) -> datetime | None:
        found = due.within(rule, after + self.passed, self._on(starts_at), self._on(ends_at))
        return None if found is None else found - self.passed

    def preview(self, rule: Rule, after: datetime, count: int, ends_at: datetime | None = None) -> list[datetime]:
        return self._back(due.preview(rule, after + self.passed, count, self._on(ends_at)))

    def jitter(self, name: str, due_time: datetime, jitter_s: float) -> timedelta:
        return due.jitter(name, due_time + self.passed, jitter_s)

    def _on(self, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + self.passed

    def _back(self, moments: Sequence[datetime]) -> list[datetime]:
        return [moment - self.passed for moment in moments]


def _moved(column: Column[Any], span: timedelta) -> Any:
    return func.strftime("%Y-%m-%d %H:%M:%f", column, f"{span.total_seconds():+.3f} seconds")
