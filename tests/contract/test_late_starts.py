"""A run that comes late to its first line: its start is recorded anew as long as it stands well in the window."""

from __future__ import annotations

import math
import time
from datetime import datetime

import pytest
from sqlalchemy import select, update

from celadon.jobs import Claim
from celadon.ledger import claims, limits, places
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import starts
from celadon.limits import Limit
from celadon.run import Runner, run_job
from celadon.states import State
from tests.contract.given import WORKER, a_claim, a_job, row
from tests.contract.jobs import RAN

pytestmark = pytest.mark.usefixtures("ledger")

IN_A_WINDOW = Limit(starts=5, per_s=4)
INLINE = "contract.inline"


def a_limited_job() -> str:
    limits.set_limits("job", INLINE, [IN_A_WINDOW], actor="test")
    job_id = a_job(INLINE, payload={"word": "late"})
    assert [job.job_id for job in limits.release()] == [job_id]
    return job_id


def a_start_of(seconds_ago: float) -> tuple[Claim, datetime]:
    claim = a_claim(a_limited_job())
    with begin() as connection:
        connection.execute(update(starts).where(starts.c.job_id == claim.job_id).values(at=at(-seconds_ago)))
    return claim, started(claim.job_id)


def started(job_id: str) -> datetime:
    with reading() as connection:
        found: datetime = connection.execute(select(starts.c.at).where(starts.c.job_id == job_id)).scalar_one()
    return found


def test_a_start_that_stands_well_in_the_window_is_moved_to_now() -> None:
    claim, _ = a_start_of(1.5)
    before = time.monotonic()
    begin_by = places.start_later(claim)
    assert begin_by is not None
    assert begin_by >= before + IN_A_WINDOW.margin_s / 2
    assert started(claim.job_id) >= claim.claimed_at


def test_a_start_that_is_about_to_leave_the_window_is_left_where_it_is() -> None:
    claim, old = a_start_of(2.1)
    assert places.start_later(claim) is None
    assert started(claim.job_id) == old


def test_a_run_whose_claim_is_gone_gets_no_other_start() -> None:
    claim, old = a_start_of(1.5)
    claims.give_back(claim)
    assert places.start_later(claim) is None
    assert started(claim.job_id) == old


def test_a_run_that_no_window_counts_any_more_may_begin_whenever_it_does() -> None:
    claim, _ = a_start_of(1.5)
    limits.set_limits("job", INLINE, [Limit(concurrency=3)], actor="test")
    assert places.start_later(claim) == math.inf


def test_a_run_that_is_held_up_for_a_moment_begins_all_the_same_and_its_start_is_that_late() -> None:
    job_id = a_limited_job()
    RAN.clear()
    ran = run_job(job_id, Runner(worker=WORKER), on_claim=lambda _: time.sleep(IN_A_WINDOW.margin_s))
    assert ran.state == State.SUCCEEDED
    assert RAN == ["late"]
    late_by_s = (started(job_id) - row(job_id).started_at).total_seconds()
    assert late_by_s >= IN_A_WINDOW.margin_s
