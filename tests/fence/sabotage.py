"""Defects to put into the platform, so that the suite can show that it would see them.

Nothing happens unless FENCE_SABOTAGE names one. Each is a mistake that someone could make in good faith.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import celadon.ledger.claims
import celadon.ledger.recovery
import celadon.ledger.sending
import celadon.steps
from celadon.ledger.tables import jobs
from tests.fence.edges import wrap


def unfenced_steps() -> None:
    """A step's commit no longer asks whether its claim stands."""
    wrap(celadon.ledger.claims, "fence", lambda original, *args: None)


def unfenced_ends() -> None:
    """Neither does the write that ends a run."""
    wrap(celadon.ledger.claims, "mine", lambda original, claim: jobs.c.id == claim.job_id)


def no_reaper() -> None:
    """Nobody puts back what a dead worker held."""
    wrap(celadon.ledger.recovery, "reap", lambda original, **kwargs: [])


def no_resend() -> None:
    """A message is sent once; a broker that lost it has lost it."""
    wrap(celadon.ledger.sending, "take_overdue", lambda original, queue, limit: [])


def fresh_keys() -> None:
    """Every try of an outside step makes a new idempotency key."""
    wrap(celadon.steps, "idempotency_key", lambda original, scope, name: str(uuid.uuid4()))


DEFECTS: dict[str, Callable[[], Any]] = {
    defect.__name__: defect for defect in (unfenced_steps, unfenced_ends, no_reaper, no_resend, fresh_keys)
}

if chosen := os.environ.get("FENCE_SABOTAGE"):
    DEFECTS[chosen]()
