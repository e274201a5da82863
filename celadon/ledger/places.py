"""What the claim of a limited job does beside the claim, in its transaction: the start is recorded, the worker counted.

Jobs that nothing limits never come here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, and_, case, delete, exists, func, insert, or_, select, update

from celadon.jobs import Claim
from celadon.ledger.db import at, begin
from celadon.ledger.gates import COLUMN, Group, rules_of, standing_before
from celadon.ledger.tables import attempts, in_state, jobs, starts
from celadon.limits import Limit
from celadon.states import Outcome, State

_LOCKS = 7_204_416  # The class of the locks that serialize the claims of one worker.


MARGIN_PART = 0.6  # Of a window's margin: by then a body has to begin. The rest is for what happens after that look.
LATE = "its body did not begin soon enough"  # How the word of a run that came too late begins, in its attempt.


class WorkerIsFull(Exception):
    """The worker runs as many of these jobs as it may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a limit asks of the run."""

    frees: bool  # Its end makes room for another.
    begin_within_s: float | None  # Of the claim; None: no window asks for it.


def take(connection: Connection, boot: str, row: Any) -> Place:
    """Use the place that was kept for a job just claimed. Raises WorkerIsFull: then the claim is to be undone.

    boot: the worker, in all its processes. row: what the claim returned.
    """
    rules = rules_of(connection, row.queue, row.name, row.tenant)
    for_each = [(kind, name, rule.concurrency or 0) for kind, name, rule in rules if rule.each == "worker"]
    if for_each:
        if connection.dialect.name == "postgresql":
            # The claims of a worker one after the other, so that each sees the one before.
            connection.execute(select(func.pg_advisory_xact_lock(_LOCKS, func.hashtext(boot))))
        mine = or_(jobs.c.claimed_by == boot, jobs.c.claimed_by.startswith(f"{boot}:", autoescape=True))
        for kind, name, concurrency in for_each:
            running = select(func.count()).where(in_state(State.RUNNING), mine, COLUMN[kind] == name)
            if connection.execute(running).scalar_one() > concurrency:
                raise WorkerIsFull
    connection.execute(_START, _started(row))
    return _asks([rule for _, _, rule in rules])


_START = insert(starts)


def _started(row: Any) -> dict[str, Any]:
    facts = {"epoch": row.epoch, "queue": row.queue, "name": row.name, "tenant": row.tenant, "at": row.claimed_at}
    return {"job_id": row.id, **facts}


def _asks(rules: Sequence[Limit]) -> Place:
    margins = [rule.margin_s for rule in rules if rule.starts is not None]
    return Place(
        frees=any(rule.concurrency is not None for rule in rules),
        begin_within_s=min(margins) * MARGIN_PART if margins else None,
    )


class Placing:
    """`take` for several jobs at once, whose rows are locked; their rules are read in one statement."""

    def __init__(self, connection: Connection, rows: Sequence[Any]) -> None:
        self._connection = connection
        pairs, tenants = {(row.queue, row.name) for row in rows}, {row.tenant for row in rows if row.tenant}
        self._gates = {gate.id: gate.rules for gate in standing_before(connection, pairs, tenants)}

    def _rules(self, row: Any) -> list[Limit]:
        group = Group(row.queue, row.name, row.tenant or "")
        return [rule for gate in group.gates for rule in self._gates.get(gate, ())]

    def by_worker(self, row: Any) -> bool:
        """Whether a rule for each worker holds for the job: those are counted one claim after the other, by `take`."""
        return any(rule.each == "worker" for rule in self._rules(row))

    def take_all(self, rows: Sequence[Any]) -> dict[str, Place]:
        """Use the places of jobs just claimed; by their ids, what is asked of the runs."""
        if rows:
            self._connection.execute(_START, [_started(row) for row in rows])
        return {row.id: _asks(self._rules(row)) for row in rows}


def start_later(claim: Claim) -> float | None:
    """Record the start of a run that is late anew, at this moment. None: it is too late for that, or the claim is gone.

    Returns the monotonic time by which its body has to begin then. The start is moved while it still stands in the
    window, and well before it leaves it: it counts at every release, at its old time or its new one.
    """
    with begin() as connection:
        rules = [rule for *_, rule in rules_of(connection, claim.queue, claim.name, claim.tenant) if rule.per_s]
        if not rules:
            return math.inf
        half_a_window_s, margin_s = min(rule.per_s or 0.0 for rule in rules) / 2, min(rule.margin_s for rule in rules)
        mine = and_(jobs.c.id == claim.job_id, jobs.c.epoch == claim.epoch, in_state(State.RUNNING))
        here = and_(starts.c.job_id == claim.job_id, starts.c.epoch == claim.epoch, starts.c.at > at(-half_a_window_s))
        sent = time.monotonic()
        moved = connection.execute(update(starts).where(here, exists().where(mine)).values(at=at())).rowcount
    if not moved or time.monotonic() - sent > half_a_window_s:
        return None
    return sent + margin_s * MARGIN_PART


def forget(connection: Connection, claim: Claim) -> None:
    """Take back the start of a run that has not begun and never will: no window has to count it."""
    connection.execute(delete(starts).where(starts.c.job_id == claim.job_id, starts.c.epoch == claim.epoch))


def late_before(connection: Connection, claim: Claim, most: int) -> int:
    """How often in a row, up to this claim, the job came too late to begin; counted no further than `most`."""
    late = case((and_(attempts.c.outcome == Outcome.INTERRUPTED, attempts.c.error.startswith(LATE)), 1), else_=0)
    lately = (
        select(late)
        .where(attempts.c.job_id == claim.job_id, attempts.c.epoch < claim.epoch)
        .order_by(attempts.c.epoch.desc())
        .limit(most)
    )
    return sum(takewhile(bool, connection.scalars(lately)))


def give_up(connection: Connection, job_id: str) -> bool:
    """queued → waiting: it is paused, or no place is kept for it. False: it was not queued."""
    held = (
        update(jobs)
        .where(jobs.c.id == job_id, in_state(State.QUEUED))
        .values(state=State.WAITING, send_due=None, reserved_at=None)
    )
    return bool(connection.execute(held).rowcount)
