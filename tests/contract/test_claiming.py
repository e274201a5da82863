"""Claiming: who may take a job, and that only one does."""

from __future__ import annotations

import pytest

from celadon.jobs import Claim
from celadon.ledger import claims, switches
from celadon.ledger.db import at
from celadon.states import State
from tests.contract.given import LEASE_S, NAME, OTHER, WORKER, a_claim, a_job, a_job_that_is, change, race, row

pytestmark = pytest.mark.usefixtures("ledger")


def claim(job_id: str, *, alone: bool = False) -> Claim | None:
    return claims.claim(job_id, worker=WORKER, engine="worker", lease_s=LEASE_S, alone=alone)


def test_a_claim_takes_the_job_with_an_epoch_and_a_lease_and_brings_its_payload():
    job_id = a_job(payload={"a": 1}, tenant="acme", trace={"traceparent": "t"}, scope="order:1")

    taken = claim(job_id)

    kept = row(job_id)
    assert taken is not None
    assert (taken.job_id, taken.epoch, taken.payload, taken.scope) == (job_id, 1, {"a": 1}, "order:1")
    assert (taken.name, taken.queue, taken.tenant, taken.trace) == (NAME, "default", "acme", {"traceparent": "t"})
    assert (kept.state, kept.epoch, kept.claimed_by, kept.engine) == (State.RUNNING, 1, WORKER, "worker")
    assert abs((kept.lease_until - kept.claimed_at).total_seconds() - LEASE_S) < 1
    assert kept.send_due is None
    assert kept.claimed_at == taken.claimed_at
    assert abs((kept.started_at - kept.claimed_at).total_seconds()) < 0.1


def test_a_job_without_a_business_key_is_its_own_scope():
    job_id = a_job()

    assert a_claim(job_id).scope == job_id


def test_the_first_start_is_remembered_over_later_claims():
    first = a_claim()
    started = row(first.job_id).started_at
    claims.give_back(first)

    second = a_claim(first.job_id)

    assert row(first.job_id).started_at == started
    assert second.epoch == first.epoch + 2


def test_of_twenty_racing_claimers_one_gets_the_job():
    job_id = a_job()

    def attempt(number: int) -> Claim | None:
        return claims.claim(job_id, worker=f"w{number}", engine="worker", lease_s=LEASE_S)

    winners = [taken for taken in race(20, attempt) if taken is not None]

    assert len(winners) == 1
    assert row(job_id).claimed_by == winners[0].worker
    assert row(job_id).epoch == 1


@pytest.mark.parametrize("state", [state for state in State if state != State.QUEUED])
def test_only_a_queued_job_can_be_claimed(state):
    job_id = a_job_that_is(state)
    before = row(job_id)

    assert claim(job_id, alone=True) is None

    assert row(job_id) == before
    assert claims.why_not(job_id).state == state


def test_there_is_nothing_to_claim_under_an_unknown_id():
    assert claim("nobody") is None
    assert claims.why_not("nobody").state is None


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", NAME)])
def test_a_paused_job_is_not_claimed_until_it_is_resumed(kind, name):
    job_id = a_job()
    switches.pause(kind, name)

    assert claim(job_id) is None
    assert claims.why_not(job_id).held

    switches.resume(kind, name)
    assert claim(job_id) is not None


def test_a_pause_of_another_name_or_queue_holds_nothing():
    job_id = a_job()
    switches.pause("queue", NAME)
    switches.pause("job", "default")

    assert claim(job_id) is not None


def test_an_expired_job_is_not_claimed():
    late, early = a_job(expires_in_s=60.0), a_job(expires_in_s=60.0)
    change(late, expires_at=at(-0.01))

    assert claim(late) is None
    assert claims.why_not(late).state == State.QUEUED
    assert claim(early) is not None


def test_a_job_that_has_begun_once_does_not_expire_any_more():
    begun = a_claim(expires_in_s=60.0)
    claims.give_back(begun)
    change(begun.job_id, expires_at=at(-1))

    assert claim(begun.job_id) is not None


def test_a_job_in_quarantine_is_claimed_only_by_who_runs_it_alone():
    job_id = a_job()
    change(job_id, quarantine=True)

    assert claim(job_id) is None
    assert claims.why_not(job_id).quarantine
    assert claim(job_id, alone=True) is not None


def test_who_fails_to_claim_hears_who_has_it():
    held = a_claim(worker=OTHER)

    assert claim(held.job_id) is None
    assert claims.why_not(held.job_id).claimed_by == OTHER
