"""Which queued jobs the broker is to be told of, first or again."""

from __future__ import annotations

from typing import Any

import pytest

from celadon.ledger import claims, moving, sending, switches
from celadon.ledger.db import at
from celadon.ledger.sending import ToSend
from celadon.states import State
from tests.contract.given import NAME, a_claim, a_job, change, race, row

pytestmark = pytest.mark.usefixtures("ledger")


def unsent(**facts: Any) -> str:
    """A job that came into `queued` without being sent."""
    job_id = a_job(**facts)
    moving.hold(job_id)
    assert moving.release() == 1
    return job_id


def overdue(**facts: Any) -> str:
    """A job that was sent, and that nobody has claimed in time."""
    job_id = a_job(**facts)
    change(job_id, send_due=at(-1))
    return job_id


def wait_s(job_id: str) -> float:
    """Seconds until it is sent again."""
    return float((row(job_id).send_due - row(a_job()).created_at).total_seconds())


def test_what_was_just_submitted_is_not_sent_again():
    a_job()

    assert sending.take_unsent() == []
    assert sending.take_overdue("default", 10) == []
    assert sending.overdue_queues() == []


def test_an_unsent_job_is_taken_once_and_due_again_later():
    job_id = unsent()

    assert sending.take_unsent() == [ToSend(job_id, NAME, "default")]
    assert sending.take_unsent() == []

    assert row(job_id).sends == 1
    assert 3 < wait_s(job_id) < 6


def test_an_overdue_job_is_taken_from_its_own_queue_only():
    job_id = overdue(queue="data_sync")

    assert sending.overdue_queues() == ["data_sync"]
    assert sending.take_overdue("default", 10) == []
    assert sending.take_overdue("data_sync", 10) == [ToSend(job_id, NAME, "data_sync")]
    assert sending.take_overdue("data_sync", 10) == []


def test_each_sending_doubles_the_wait_up_to_a_minute():
    job_id = unsent()
    waits = []
    sending.take_unsent()
    for _ in range(6):
        change(job_id, send_due=at(-1))
        assert len(sending.take_overdue("default", 10)) == 1
        waits.append(round(wait_s(job_id)))

    assert waits == [10, 20, 40, 60, 60, 60]
    assert row(job_id).sends == 7


def test_the_oldest_are_taken_first_and_no_more_than_asked_for():
    jobs = [overdue() for _ in range(4)]
    for age, job_id in enumerate(jobs):
        change(job_id, send_due=at(-10 + age))

    assert [one.job_id for one in sending.take_overdue("default", 2)] == jobs[:2]
    assert [one.job_id for one in sending.take_overdue("default", 9)] == jobs[2:]


def test_what_the_broker_did_not_take_is_soon_due_as_if_never_sent():
    job_id = overdue()
    sending.take_overdue("default", 10)

    sending.not_sent([job_id], again_in_s=0.0)

    assert [one.job_id for one in sending.take_unsent()] == [job_id]


def test_what_was_claimed_meanwhile_is_not_touched_by_a_failed_sending():
    job_id = overdue()
    sending.take_overdue("default", 10)
    a_claim(job_id)

    sending.not_sent([job_id], again_in_s=0.5)

    assert row(job_id).send_due is None


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", NAME)])
def test_what_is_switched_off_the_broker_is_not_sent_until_it_is_back(kind, name):
    job_id = unsent()
    switches.turn(kind, name, use_broker=False)
    assert sending.take_unsent() == []

    switches.turn(kind, name, use_broker=True)
    assert [one.job_id for one in sending.take_unsent()] == [job_id]


def test_relief_can_ask_for_what_is_switched_off_alone():
    off = a_job()
    a_job("contract.other")
    switches.turn("job", NAME, use_broker=False)

    found = moving.queued_ids(["default"], [NAME, "contract.other"], 10, only_off=sending.switched_off())

    assert found == [off]


def test_several_senders_take_a_job_once():
    jobs = {unsent() for _ in range(8)}

    taken = [one.job_id for batch in race(4, lambda _: sending.take_unsent()) for one in batch]

    assert sorted(taken) == sorted(jobs)


def test_the_depth_of_a_queue_is_counted_no_further_than_asked():
    for _ in range(4):
        a_job()
    a_claim(queue="data_sync")
    a_job(state=State.SCHEDULED, delay_s=9.0)

    assert sending.depth("default", 100) == 4
    assert sending.depth("default", 2) == 2
    assert sending.depth("data_sync", 100) == 0


def test_a_job_given_back_is_sent_at_once():
    claim = a_claim()
    claims.give_back(claim)

    assert [one.job_id for one in sending.take_unsent()] == [claim.job_id]
