"""What a claim knows of the times before it: how long the job was queued, and when it was promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.ledger import claims, moving
from celadon.ledger.db import at
from celadon.states import State
from tests.contract.given import FAILURE, a_claim, a_job, change, row

pytestmark = pytest.mark.usefixtures("ledger")

SOON = timedelta(minutes=5)


def due(**facts: Any) -> str:
    """A job that was due later, and is due now."""
    job_id = a_job(state=State.SCHEDULED, **facts)
    change(job_id, created_at=at(-1000), run_at=at(-30))
    assert moving.promote() == 1
    return job_id


def test_a_claim_knows_when_its_job_was_queued() -> None:
    job_id = a_job()
    change(job_id, queued_at=at(-20))

    claim = a_claim(job_id)

    assert claim.queued_at is not None
    assert 20 <= (claim.claimed_at - claim.queued_at).total_seconds() < 25


def test_a_job_that_was_due_later_was_promised_for_that_time() -> None:
    job_id = due(delay_s=970.0)

    claim = a_claim(job_id)

    assert claim.promised_at == row(job_id).run_at
    assert 30 <= (claim.claimed_at - claim.run_at).total_seconds() < 35  # type: ignore[operator]


def test_a_retry_is_promised_to_nobody() -> None:
    job_id = due(delay_s=970.0)
    claims.fail(a_claim(job_id), FAILURE, retry_in_s=0.0, alert_after=9)
    assert moving.promote() == 1

    assert a_claim(job_id).promised_at is None


def test_a_job_that_was_due_at_once_or_before_it_was_submitted_is_promised_for_no_time() -> None:
    assert a_claim(a_job()).promised_at is None
    assert a_claim(a_job(run_at=datetime.now(UTC) - SOON)).promised_at is None


def test_a_schedules_job_was_promised_for_its_due_time_however_late_it_was_fired() -> None:
    fired = datetime.now(UTC) - SOON
    a_job(state=State.SCHEDULED, run_at=fired, schedule="hourly", due=fired)
    assert moving.promote() == 1

    claim = a_claim(moving.queued_ids(["default"], ["contract.job"], 1)[0])

    assert claim.schedule == "hourly"
    assert claim.promised_at is not None
    assert abs(claim.promised_at - fired) < timedelta(milliseconds=2)
