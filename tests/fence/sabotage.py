"""Defects to put into the platform, so that the suite can show that it would see them.

Nothing happens unless FENCE_SABOTAGE names some. Each is a mistake that someone could make in good faith.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import select

import celadon.ledger.claims
import celadon.ledger.recovery
import celadon.ledger.room
import celadon.ledger.schedules
import celadon.ledger.sending
import celadon.ledger.writing
import celadon.steps
from celadon.jobs import Claim, NewJob
from celadon.ledger.db import begin, reading
from celadon.ledger.room import Used
from celadon.ledger.tables import jobs
from tests.fence.edges import wrap


def unfenced() -> None:
    """A step's commit no longer asks whether its claim stands."""
    wrap(celadon.ledger.claims, "fence", lambda original, *args, **kwargs: False)


def borrowed_epoch() -> None:
    """Fenced writes ask with the epoch that the row has now, instead of the one they were given."""

    def this(original: Callable[..., Any], claim: Claim) -> dict[str, Any]:
        with reading() as connection:
            epoch = connection.execute(select(jobs.c.epoch).where(jobs.c.id == claim.job_id)).scalar()
        return {**original(claim), "b_epoch": epoch}

    wrap(celadon.ledger.claims, "this", this)


def no_reaper() -> None:
    """Nobody puts back what a dead worker held."""
    wrap(celadon.ledger.recovery, "reap", lambda original, **kwargs: [])


def no_resend() -> None:
    """A message is sent once; a broker that lost it has lost it."""
    wrap(celadon.ledger.sending, "take_overdue", lambda original, queue, limit: [])


def fresh_keys() -> None:
    """Every try of an outside step makes a new idempotency key."""
    wrap(celadon.steps, "idempotency_key", lambda original, scope, name: str(uuid.uuid4()))


def forgets_places() -> None:
    """There is room for as many as do not run yet: nobody counts those that were let go and have not begun."""

    def room(original: Callable[..., int], used: Used, key: str) -> int:
        return original(replace(used, reserved=Counter()), key)

    wrap(celadon.ledger.room.Used, "room", room)


def fires_in_two() -> None:
    """A schedule is moved on in one transaction, and its job stored in another."""

    def fire(original: Callable[..., bool], row: Any, seen: Any, due: Any, following: Any, new: NewJob) -> bool:
        moved = celadon.ledger.schedules.leave_out(row, seen, due, following)
        if moved:
            with begin() as connection:
                celadon.ledger.writing.insert_job(connection, new)
        return moved

    wrap(celadon.ledger.schedules, "fire", fire)


DEFECTS: dict[str, Callable[[], Any]] = {
    defect.__name__: defect
    for defect in (unfenced, borrowed_epoch, no_reaper, no_resend, fresh_keys, forgets_places, fires_in_two)
}

for chosen in os.environ.get("FENCE_SABOTAGE", "").split():
    DEFECTS[chosen]()
