"""A run that comes late to its first line: its start is recorded anew as long as it stands well in the window."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, select, update

from celadon.jobs import Claim
from celadon.ledger import claims, limits, moving, places
from celadon.ledger.db import at, begin, engine, reading
from celadon.ledger.tables import attempts, starts
from celadon.limits import Limit
from celadon.run import Ran, Runner, run_job
from celadon.states import State
from tests.contract.given import WORKER, a_claim, a_job, change, count, row
from tests.contract.jobs import RAN, SCRIPT
from tests.eventually import eventually
from tests.guarantees.g08 import most_in_a_window

pytestmark = pytest.mark.usefixtures("ledger")

IN_A_WINDOW = Limit(starts=5, per_s=4)
INLINE, NOTED = "contract.inline", "contract.scripted"


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
    assert begin_by >= before + IN_A_WINDOW.margin_s * places.MARGIN_PART
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


def test_a_run_that_never_begins_has_no_start_and_says_why_and_how_late_it_was(too_late) -> None:
    job_id = a_limited_job()

    ran = late(job_id)

    assert ran.state == State.QUEUED
    (told,) = attempts_of(job_id)
    assert (told.outcome, told.error) == ("interrupted", ran.error)
    assert str(told.error).startswith("its body did not begin soon enough")
    assert count(starts) == 0  # So it takes nothing from the window of those that can begin.


def test_what_comes_too_late_again_and_again_is_put_off_for_longer_each_time_and_burns_no_try(too_late) -> None:
    job_id = a_limited_job()
    waits = []
    for _ in range(6):
        ran = late(job_id)
        left = row(job_id)
        waits.append(None if ran.state == State.QUEUED else (left.run_at - attempts_of(job_id)[-1].ended_at))
        change(job_id, state=State.QUEUED, reserved_at=at())

    assert waits[:2] == [None, None]  # A moment's trouble costs little.
    seconds = [round(wait.total_seconds(), 1) for wait in waits if wait is not None]
    assert all(first <= s <= first * 1.3 for first, s in zip([1, 2, 4, 8], seconds, strict=True))
    assert row(job_id).attempt == 0


def test_a_run_that_began_or_failed_meanwhile_counts_as_no_late_one(too_late) -> None:
    job_id = a_limited_job()
    for _ in range(2):
        late(job_id)
        change(job_id, state=State.QUEUED, reserved_at=at())
    claims.give_back(a_claim(job_id))
    change(job_id, reserved_at=at())

    assert late(job_id).state == State.QUEUED


def test_a_ledger_that_answers_slowly_still_begins_the_jobs_of_a_short_window() -> None:
    limits.set_limits("job", INLINE, [Limit(starts=5, per_s=1)], actor="test")
    job_id = a_job(INLINE, payload={"word": "slow"})
    limits.release()

    def slowly(*_: object) -> None:
        time.sleep(0.03)

    for when in ("before_cursor_execute", "commit"):
        event.listen(engine(), when, slowly)
    try:
        ran = run_job(job_id, Runner(worker=WORKER))
    finally:
        for when in ("before_cursor_execute", "commit"):
            event.remove(engine(), when, slowly)

    assert ran.state == State.SUCCEEDED


@pytest.fixture
def too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run comes to its first line when it is too late for that, and for another start."""
    monkeypatch.setattr(places, "MARGIN_PART", 0.0)
    monkeypatch.setattr(places, "start_later", lambda _: None)


def test_bodies_that_begin_late_after_their_claims_are_never_too_many_in_a_window() -> None:
    """Of those that go first one is late by less than is allowed, and one by more; those that follow are not late."""
    limits.set_limits("job", NOTED, [Limit(starts=2, per_s=1)], actor="test")
    late_by_s = {a_job(NOTED, payload={}): late_s for late_s in (0.13, 0.3, 0.0, 0.0)}
    began: list[int] = []
    SCRIPT.append(lambda _: began.append(time.time_ns()))

    def all_have_begun() -> bool:
        moving.hold_unplaced()
        for job in limits.release():
            threading.Thread(target=a_run, args=(job.job_id, late_by_s[job.job_id])).start()
        return len(began) == len(late_by_s)

    eventually("all have begun", all_have_begun, within=20)

    assert most_in_a_window(sorted(began)) <= 2


def a_run(job_id: str, delay_s: float) -> None:
    run_job(job_id, Runner(worker=WORKER), on_claim=lambda _: time.sleep(delay_s))


def late(job_id: str) -> Ran:
    return run_job(job_id, Runner(worker=WORKER))


def attempts_of(job_id: str) -> Sequence[Any]:
    with reading() as connection:
        return connection.execute(select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.epoch)).all()
