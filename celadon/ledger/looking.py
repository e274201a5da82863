"""What readers see: a job with its attempts and steps."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select

from celadon import drain
from celadon.deadline import within
from celadon.jobs import AttemptView, JobView
from celadon.ledger import deliveries, marks
from celadon.ledger.db import reading
from celadon.ledger.tables import attempts, jobs, steps
from celadon.settings import settings
from celadon.states import FINAL, Outcome, State

_FIELDS = (
    "id",
    "name",
    "queue",
    "priority",
    "tenant",
    "attempt",
    "max_attempts",
    "crashes",
    "replays",
    "engine",
    "claimed_by",
    "cancel_requested",
    "created_at",
    "run_at",
    "expires_at",
    "claimed_at",
    "started_at",
    "finished_at",
    "result",
    "payload",
)


def find(job_id: str) -> JobView | None:
    """The job with its timeline, or None. Raises LedgerUnavailable."""
    with reading() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            return None
        tries = connection.execute(select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.epoch)).all()
        marked = connection.execute(
            select(steps).where(steps.c.scope == (row.scope or job_id)).order_by(steps.c.started_at)
        ).all()
        delivery = deliveries.find(connection, job_id)
    facts: dict[str, Any] = {name: getattr(row, name) for name in _FIELDS}
    error = None
    if row.error_kind:
        error = {"kind": row.error_kind, "message": row.error_message or "", "fingerprint": row.error_fingerprint}
    return JobView(
        **facts,
        state=State(row.state),
        error=error,
        attempts=tuple(
            AttemptView(
                number=a.number,
                epoch=a.epoch,
                worker=a.worker,
                engine=a.engine,
                started_at=a.started_at,
                ended_at=a.ended_at,
                outcome=Outcome(a.outcome),
                error=a.error,
            )
            for a in tries
        ),
        steps=tuple(marks.view(row) for row in marked),
        delivery=delivery,
    )


def state_of(job_id: str) -> State | None:
    with reading() as connection:
        state = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
    return State(state) if state else None


def wait(job_id: str, seconds: float) -> JobView | None:
    """The job once it is final, or as it is after `seconds`, or when this process is stopping. None: no such job.

    Raises LedgerUnavailable; for one that hangs, within LEDGER_TIMEOUT_S.
    """
    patience = settings().ledger_timeout_s
    deadline = time.monotonic() + seconds
    pause = 0.02
    while True:
        state = within(patience, lambda _: state_of(job_id), job_id=job_id)
        if state is None or state in FINAL or time.monotonic() >= deadline or drain.draining():
            return within(patience, lambda _: find(job_id), job_id=job_id)
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 0.5)
