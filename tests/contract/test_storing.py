"""Storing a job, and its idempotency key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from celadon.errors import KeyConflict
from celadon.ledger import retention, switches
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import jobs, keys
from celadon.ledger.writing import insert_job, withdraw
from celadon.states import State
from tests.contract.given import NAME, a_claim, a_job, count, new_job, race, row, store

pytestmark = pytest.mark.usefixtures("ledger")


def test_a_stored_job_is_queued_and_due_to_be_sent_again_if_nobody_claims_it():
    new = new_job(payload={"order_id": "x", "n": [1, None, "é"]}, priority=3, tenant="acme", trace={"traceparent": "t"})

    assert store(new) == (new.id, State.QUEUED, True)

    kept = row(new.id)
    assert (kept.payload, kept.priority, kept.tenant, kept.trace) == (
        {"order_id": "x", "n": [1, None, "é"]},
        3,
        "acme",
        {"traceparent": "t"},
    )
    assert (kept.epoch, kept.attempt, kept.crashes, kept.sends) == (0, 0, 0, 1)
    assert timedelta(seconds=4) < kept.send_due - kept.created_at < timedelta(seconds=6)


def test_a_delayed_job_is_scheduled_by_the_clock_of_the_database():
    job_id = a_job(state=State.SCHEDULED, delay_s=60.0)

    kept = row(job_id)
    assert kept.state == State.SCHEDULED
    assert kept.send_due is None
    assert abs(kept.run_at - kept.created_at - timedelta(seconds=60)) < timedelta(seconds=1)


def test_a_time_survives_storing_to_the_millisecond_whatever_its_zone():
    due = datetime(2030, 3, 31, 2, 30, 15, 123000, tzinfo=UTC)

    job_id = a_job(state=State.SCHEDULED, run_at=due.astimezone())

    assert row(job_id).run_at == due


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(Exception, match="has no time zone"):
        a_job(state=State.SCHEDULED, run_at=datetime(2030, 1, 1))  # noqa: DTZ001


def test_a_job_of_a_paused_queue_waits():
    switches.pause("queue", "default")

    assert store(new_job())[1] == State.WAITING
    assert store(new_job(queue="scheduled"))[1] == State.QUEUED


def test_the_same_key_and_payload_give_the_first_job():
    first, again = (new_job(key="k", payload_hash="h") for _ in range(2))

    assert store(first) == (first.id, State.QUEUED, True)
    a_claim(first.id)

    assert store(again) == (first.id, State.RUNNING, False)
    assert count(jobs) == 1


def test_the_same_key_of_another_job_name_is_another_key():
    store(new_job(key="k", payload_hash="h"))

    assert store(new_job("contract.other", key="k", payload_hash="h"))[2]


def test_the_same_key_with_another_payload_is_refused_and_aborts_nothing():
    first = a_job(key="k", payload_hash="h")

    with begin() as connection:
        with pytest.raises(KeyConflict, match=f"'k' was used for job {first} with another payload") as refusal:
            insert_job(connection, new_job(key="k", payload_hash="other"))
        # The caller's transaction goes on, which on PostgreSQL an SQL error would have forbidden.
        insert_job(connection, new_job(key="k2", payload_hash="other"))

    assert (refusal.value.key, refusal.value.job_id) == ("k", first)
    assert count(jobs) == 2


def test_an_expired_key_may_be_used_for_new_work():
    first = a_job(key="k", payload_hash="h")
    with begin() as connection:
        connection.execute(update(keys).values(expires_at=at(-1)))

    second = new_job(key="k", payload_hash="other")

    assert store(second) == (second.id, State.QUEUED, True)
    assert store(new_job(key="k", payload_hash="other"))[0] == second.id != first
    assert count(keys) == 1


def test_a_key_is_remembered_for_a_week():
    a_job(key="k", payload_hash="h")

    with reading() as connection:
        left = connection.execute(keys.select()).one().expires_at - clock(connection)

    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


def test_keys_are_forgotten_when_their_time_is_over_and_not_before():
    for key in ("old", "young"):
        a_job(key=key, payload_hash="h")
    with begin() as connection:
        connection.execute(update(keys).where(keys.c.key == "old").values(expires_at=at(-1)))

    assert retention.forget_keys() == 1

    assert count(keys, keys.c.key == "young") == 1


def test_of_many_submitters_with_one_key_at_once_one_stores_and_all_get_its_job():
    results = race(8, lambda _: store(new_job(key="k", payload_hash="h")))

    assert sum(fresh for _, _, fresh in results) == 1
    assert len({job_id for job_id, _, _ in results}) == 1
    assert count(jobs) == 1


def test_a_rolled_back_submitter_leaves_its_key_to_the_next():
    with pytest.raises(RuntimeError), begin() as connection:
        insert_job(connection, new_job(key="k", payload_hash="h"))
        raise RuntimeError("the caller gave up")

    assert store(new_job(key="k", payload_hash="h"))[2]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_a_refused_job_is_withdrawn_with_its_key_unless_somebody_has_claimed_it(state):
    job_id = a_job(key="k", payload_hash="h")
    if state == State.RUNNING:
        a_claim(job_id)

    with begin() as connection:
        withdrawn = withdraw(connection, job_id, "the broker is away")

    assert withdrawn is (state == State.QUEUED)
    assert row(job_id).state == (State.CANCELLED if withdrawn else State.RUNNING)
    assert count(keys) == (0 if withdrawn else 1)
    assert row(job_id).name == NAME
