"""The states of a job and the arrows between them (drawn in docs/states.md, walked by a test)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    SCHEDULED = "scheduled"  # Due later: asked for, retrying after an error, or asleep.
    WAITING = "waiting"  # Due, but held by a pause or a limit, or just put back by a replay.
    QUEUED = "queued"  # May run now; the broker has been or will be told.
    PARKED = "parked"  # No live worker knows the task; goes back to queued when one does.
    RUNNING = "running"  # Claimed: one holder, one epoch, a lease.
    SUCCEEDED = "succeeded"  # Final.
    DEAD = "dead"  # Out of attempts or failed for good; kept until removed by rule, may be replayed.
    CANCELLED = "cancelled"  # Final: cancelled, refused or expired before it ran.


FINAL = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.WAITING, State.QUEUED, State.CANCELLED}),
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.WAITING, State.PARKED, State.CANCELLED}),
    State.PARKED: frozenset({State.QUEUED, State.CANCELLED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED, State.SCHEDULED, State.QUEUED}),
    State.SUCCEEDED: frozenset(),
    State.DEAD: frozenset({State.WAITING}),
    State.CANCELLED: frozenset(),
}
"""From each state, where a job may go. A job is born scheduled, waiting, queued or (adopted in vain) dead."""


class Outcome(StrEnum):
    """How one attempt ended. Only `failed` and `timed_out` burn a retry."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ASLEEP = "asleep"  # Went to sleep in `steps.sleep`.
    INTERRUPTED = "interrupted"  # Given back by a stopping worker or an inline run over its budget, or postponed.
    CRASHED = "crashed"  # Its process died, or its lease ran out.
    LOST = "lost"  # Its lease ran out while the ledger itself was away: nobody's crash.
    CANCELLED = "cancelled"
