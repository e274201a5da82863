"""The scheduler's moves for many rows at once: what is due, held, expired or parked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from celadon.ledger import claims, moving, recovery, switches
from celadon.ledger.db import at, clock, reading
from celadon.states import State
from tests.contract.given import (
    FAILURE,
    NAME,
    a_claim,
    a_job,
    a_job_that_is,
    change,
    let_its_lease_run_out,
    race,
    row,
)

pytestmark = pytest.mark.usefixtures("ledger")

QUEUES, NAMES = ["default"], [NAME]
LATER = datetime(2040, 1, 1, tzinfo=UTC)


def due(**facts: Any) -> str:
    job_id = a_job(state=State.SCHEDULED, delay_s=3600.0, **facts)
    change(job_id, run_at=at(-1))
    return job_id


def queued_and_unsent(job_id: str) -> bool:
    """Queued, and the broker is to be told of it now."""
    kept = row(job_id)
    return bool(kept.state == State.QUEUED and kept.sends == 0 and kept.send_due <= now())


def now() -> datetime:
    with reading() as connection:
        return clock(connection)


def test_what_is_due_is_promoted_to_be_sent_and_the_rest_stays():
    late, early = due(), a_job(state=State.SCHEDULED, delay_s=3600.0)

    assert moving.promote() == 1

    assert queued_and_unsent(late)
    assert row(early).state == State.SCHEDULED


def test_what_is_due_first_is_promoted_first():
    later, sooner = due(), due()
    change(sooner, run_at=at(-60))

    assert moving.promote(limit=1) == 1

    assert (row(sooner).state, row(later).state) == (State.QUEUED, State.SCHEDULED)


def test_what_is_due_but_paused_waits_and_is_released_when_resumed():
    job_id = due()
    switches.pause("job", NAME)

    assert moving.promote() == 1
    assert row(job_id).state == State.WAITING
    assert moving.release() == 0

    switches.resume("job", NAME)
    assert moving.release() == 1
    assert queued_and_unsent(job_id)


def test_only_a_queued_job_is_held_or_parked():
    for state in State:
        job_id = a_job_that_is(state)

        assert moving.hold(job_id) is (state == State.QUEUED)
        assert row(job_id).state == (State.WAITING if state == State.QUEUED else state)

        job_id = a_job_that_is(state)

        assert moving.park(job_id) is (state == State.QUEUED)
        assert row(job_id).state == (State.PARKED if state == State.QUEUED else state)
        assert row(job_id).send_due is None


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", NAME)])
def test_what_is_held_by_one_pause_does_not_keep_the_rest_waiting(kind, name):
    held = a_job_that_is(State.WAITING)
    free = a_job("contract.other", queue="data_sync")
    moving.hold(free)
    switches.pause(kind, name)
    switches.pause("queue", "scheduled")

    assert moving.release() == 1

    assert queued_and_unsent(free)
    assert row(held).state == State.WAITING


def parked(name: str = NAME, queue: str = "default") -> str:
    job_id = a_job(name, queue=queue)
    assert moving.park(job_id)
    return job_id


def test_parked_jobs_come_back_when_a_worker_knows_their_name_and_consumes_their_queue():
    known, unknown, elsewhere = parked(), parked("contract.other"), parked(queue="data_sync")

    assert moving.unpark(set()) == 0
    assert moving.unpark({(("default", "scheduled"), (NAME, "contract.third"))}) == 1

    assert queued_and_unsent(known)
    assert row(unknown).state == row(elsewhere).state == State.PARKED


def test_what_one_worker_knows_and_another_consumes_stays_parked():
    apart = parked(queue="data_sync")
    workers = {(("default",), (NAME,)), (("data_sync",), ("contract.other",))}

    assert moving.unpark(workers) == 0
    assert row(apart).state == State.PARKED

    assert moving.unpark(workers | {(("data_sync",), (NAME,))}) == 1


@pytest.mark.parametrize("state", State)
def test_what_was_not_claimed_in_time_expires_and_nothing_else(state):
    job_id = a_job_that_is(state)
    change(job_id, expires_at=at(-1))
    may_expire = state in (State.SCHEDULED, State.WAITING, State.QUEUED, State.PARKED)

    assert moving.expire() == int(may_expire)

    kept = row(job_id)
    assert kept.state == (State.CANCELLED if may_expire else state)
    if may_expire:
        assert (kept.error_kind, kept.send_due) == ("expired", None)
        assert kept.finished_at is not None


def asleep(claim: Any) -> str:
    claims.sleep(claim, LATER)
    return str(claim.job_id)


def retrying(claim: Any) -> str:
    claims.fail(claim, FAILURE, retry_in_s=60, alert_after=3)
    return str(claim.job_id)


def given_back(claim: Any) -> str:
    claims.give_back(claim)
    return str(claim.job_id)


def reaped(claim: Any) -> str:
    let_its_lease_run_out(claim.job_id)
    assert len(recovery.reap()) == 1
    return str(claim.job_id)


@pytest.mark.parametrize("come_back", [asleep, retrying, given_back, reaped])
def test_what_has_begun_goes_on_however_late_it_is(come_back):
    job_id = come_back(a_claim(expires_in_s=60.0))
    change(job_id, expires_at=at(-1))
    before = row(job_id)

    assert moving.expire() == 0

    assert row(job_id) == before
    change(job_id, state=State.QUEUED)
    assert moving.queued_ids(QUEUES, NAMES, 10) == [job_id]


def test_what_expires_later_does_not_expire_now():
    job_id = a_job(expires_in_s=60.0)

    assert moving.expire() == 0
    assert row(job_id).state == State.QUEUED


def test_relief_finds_queued_jobs_by_priority_and_age():
    first, second = a_job(), a_job()
    urgent = a_job(priority=5)

    assert moving.queued_ids(QUEUES, NAMES, 10) == [urgent, first, second]
    assert moving.queued_ids(QUEUES, NAMES, 1) == [urgent]


def test_relief_finds_nothing_that_it_could_not_claim_or_run():
    a_claim()
    a_job("contract.unknown")
    a_job(queue="data_sync")
    change(a_job(expires_in_s=60.0), expires_at=at(-1))
    assert moving.queued_ids(QUEUES, NAMES, 10) == []

    a_job()
    switches.pause("queue", "default")
    assert moving.queued_ids(QUEUES, NAMES, 10) == []


def test_several_schedulers_share_the_moves_without_moving_a_row_twice():
    for _ in range(12):
        due()

    assert sum(race(4, lambda _: moving.promote(limit=4))) <= 12
    while moving.promote():
        pass

    assert len(moving.queued_ids(QUEUES, NAMES, 20)) == 12


def test_a_move_takes_no_more_rows_than_its_limit():
    for _ in range(5):
        due()

    assert moving.promote(limit=3) == 3
    assert moving.promote(limit=3) == 2
