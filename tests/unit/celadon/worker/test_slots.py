"""Slots that are lost to runs which can't be stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from celadon import keeper
from celadon.keeper import Keeper, Running
from celadon.ledger import claims
from celadon.queues import lane
from celadon.states import State
from celadon.worker import ending, post, slots
from tests.contract.given import a_claim, row

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture(autouse=True)
def begun_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A worker of four slots; why it has begun anew."""
    reasons: list[str] = []
    monkeypatch.setattr(post, "_post", post.Post(lane=replace(lane("default"), concurrency=4), boot="host:boot"))
    monkeypatch.setattr(slots, "_lost", set())
    monkeypatch.setattr(ending, "anew", reasons.append)
    keeper.use(Keeper())
    yield reasons
    keeper.use(None)


def hanging() -> Running:
    """A run that is out of time and goes on."""
    run = Running(claim=a_claim(name="unit.scripted"), lease_s=30, deadline=time.monotonic() + 60)
    keeper.keeper().add(run)
    return run


def test_a_run_out_of_time_departs_and_its_slot_is_lost_until_it_comes_back(begun_anew):
    run = hanging()

    slots.out_of_time(run)

    assert row(run.claim.job_id).state == State.SCHEDULED
    assert (slots.lost(), slots.too_many(), begun_anew) == (1, False, [])
    keeper.keeper().remove(run)
    slots.returned(run.claim)
    assert slots.lost() == 0


def test_a_run_that_lost_its_claim_before_it_was_out_of_time_takes_a_slot_too():
    run = hanging()
    claims.give_back(run.claim)

    slots.out_of_time(run)

    assert slots.lost() == 1


def test_a_run_that_came_back_at_the_last_moment_takes_no_slot():
    # Given a run that ended just after the keeper saw it out of time.
    run = hanging()
    claims.finish(run.claim, None)
    keeper.keeper().remove(run)
    slots.returned(run.claim)

    slots.out_of_time(run)

    assert slots.lost() == 0


def test_a_worker_that_has_lost_half_of_its_slots_begins_anew(begun_anew):
    for _ in range(2):
        assert begun_anew == []
        slots.out_of_time(hanging())

    assert slots.too_many()
    assert begun_anew == ["2 of 4 slots are lost to jobs that ran out of time"]
