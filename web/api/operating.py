"""What operators do to a job."""

from __future__ import annotations

from flask import Response, jsonify

from celadon import State, find
from celadon.errors import NotAllowed
from celadon.ledger import operating
from web.api.callers import actor
from web.api.jobs import known
from web.api.models import Reschedule


def cancel(job_id: str) -> Response:
    """Cancel a job

    One that does not run is cancelled at once; a running one is asked to end, at its next step (`cancel_requested`).
    """
    state = operating.cancel(job_id, actor=actor())
    if state in (State.SUCCEEDED, State.DEAD):
        raise NotAllowed(f"Job {job_id} is {state}; there is nothing left to cancel")
    return _as_it_is(job_id)


def replay(job_id: str) -> Response:
    """Put a dead job back

    With all its tries; its history is kept, and steps that are done stay done.
    """
    operating.replay(job_id, actor=actor())
    return _as_it_is(job_id)


def run_now(job_id: str) -> Response:
    """Make a scheduled job due now

    One that was to run later, or that backs off after an error. The scheduler queues it at its next tick. A job asleep
    in a step stays asleep: its waking time is recorded there.
    """
    operating.run_now(job_id, actor=actor())
    return _as_it_is(job_id)


def reschedule(job_id: str, body: Reschedule) -> Response:
    """Make a scheduled job due at another time

    Earlier or later. A job asleep in a step stays asleep: its waking time is recorded there.
    """
    operating.reschedule(job_id, run_at=body.run_at, delay=body.delay_s, actor=actor())
    return _as_it_is(job_id)


def _as_it_is(job_id: str) -> Response:
    return jsonify(known(job_id, find(job_id)).as_dict())
