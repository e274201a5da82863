"""Keeping claims: renewing, hearing of lost ones, ending what is out of time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from celadon import keeper as module
from celadon.errors import LedgerUnavailable
from celadon.keeper import Keeper, Running
from celadon.ledger import claims
from celadon.run import end_timed_out
from celadon.states import State
from tests.contract.given import OTHER, a_claim, let_its_lease_run_out, row
from tests.contract.pointed import pointed
from tests.eventually import eventually


@pytest.fixture
def _impatient(ledger: str) -> Iterator[None]:
    with pointed(ledger_url=ledger, lease_s="0.3", renew_s="0.05"):
        yield


pytestmark = pytest.mark.usefixtures("_impatient")


def running(in_s: float = 60, name: str = "unit.scripted") -> Running:
    return Running(claim=a_claim(name=name, lease_s=0.3), lease_s=30, deadline=time.monotonic() + in_s)


def lease(run: Running) -> float:
    return float((row(run.claim.job_id).lease_until - run.claim.claimed_at).total_seconds())


def test_a_lease_is_renewed_as_long_as_the_run_is_kept():
    keeper, run = Keeper(), running()

    keeper.add(run)

    eventually("the lease is renewed", lambda: lease(run) > 20)
    first = lease(run)
    eventually("and again", lambda: lease(run) > first)
    keeper.remove(run)
    assert len(keeper) == 0


def test_a_run_whose_claim_is_gone_is_told_and_stays_until_it_ends():
    keeper, run, other = Keeper(), running(), running()
    keeper.add(run)
    keeper.add(other)

    claims.give_back(run.claim)

    eventually("the run hears of it", lambda: run.lost)
    assert not other.lost
    assert keeper.running() == [run, other]
    keeper.remove(run)
    assert keeper.running() == [other]
    keeper.remove(other)


def test_a_lost_claim_is_not_renewed_for_who_has_the_job_now():
    keeper, run = Keeper(), running()
    keeper.add(run)
    claims.give_back(run.claim)
    eventually("the run hears of it", lambda: run.lost)
    a_claim(run.claim.job_id, worker=OTHER, lease_s=7)
    lease_of_the_other = row(run.claim.job_id).lease_until

    keeper.renew()

    assert row(run.claim.job_id).lease_until == lease_of_the_other
    keeper.remove(run)


def test_a_lost_run_that_is_out_of_time_is_ended_all_the_same():
    # Given a run that hangs, and whose claim is gone: it still takes a slot.
    ended: list[Running] = []
    keeper, run = Keeper(on_timeout=ended.append), running(in_s=0.5)
    keeper.add(run)
    claims.give_back(run.claim)
    eventually("the run hears of it", lambda: run.lost)
    assert ended == []

    eventually("it is ended", lambda: ended == [run])

    assert run.timed_out
    keeper.remove(run)


def test_neither_renewal_nor_time_outs_wait_for_the_other_to_be_well():
    def always_away(_: Running) -> None:
        raise LedgerUnavailable("for good")

    keeper, late, fine = Keeper(on_timeout=always_away), running(in_s=-1), running()
    keeper.add(late)
    keeper.add(fine)

    eventually("the lease is renewed", lambda: lease(fine) > 20)
    first = lease(fine)
    eventually("and again", lambda: lease(fine) > first)
    assert fine in keeper.running()
    assert not late.timed_out
    for run in (late, fine):
        keeper.remove(run)


def test_runs_of_different_leases_keep_their_own():
    keeper, short, long = Keeper(), running(), running()
    short.lease_s = 10
    for run in (short, long):
        keeper.add(run)

    keeper.renew()

    assert 5 < lease(short) < 20 < lease(long)
    for run in (short, long):
        keeper.remove(run)


def test_a_run_out_of_time_departs_once():
    keeper, run = Keeper(on_timeout=end_timed_out), running(in_s=-1)

    keeper.add(run)

    eventually("it departs", lambda: row(run.claim.job_id).state == State.SCHEDULED)
    assert run.timed_out
    assert row(run.claim.job_id).error_kind == "TimedOut"
    assert (row(run.claim.job_id).attempt, row(run.claim.job_id).error_message) == (
        1,
        "it ran longer than its time-out of 300 s",
    )
    keeper.remove(run)


def test_a_run_out_of_time_is_ended_even_if_the_ledger_was_away_at_that_moment():
    asked: list[Running] = []

    def away_at_first(run: Running) -> None:
        asked.append(run)
        if len(asked) == 1:
            raise LedgerUnavailable("for a moment")

    keeper, run = Keeper(on_timeout=away_at_first), running(in_s=-1)
    keeper.add(run)

    # Else its lease would be renewed for ever, and the job would seem to run for ever.
    eventually("it is asked to end again", lambda: len(asked) == 2, within=3)
    eventually("and is seen to have ended", lambda: run.timed_out)
    assert asked == [run, run]
    keeper.remove(run)


def test_ending_a_run_that_had_departed_by_itself_changes_nothing():
    run = running()
    claims.finish(run.claim, "in time")

    assert end_timed_out(run) is False
    assert row(run.claim.job_id).result == "in time"


def test_a_lost_lease_that_nobody_reaped_is_taken_up_again():
    keeper, run = Keeper(), running()
    let_its_lease_run_out(run.claim.job_id)

    keeper.add(run)

    eventually("the lease stands again", lambda: lease(run) > 20)
    keeper.remove(run)


def test_a_process_has_one_keeper_which_ends_what_is_out_of_time():
    module.use(None)

    assert module.keeper() is module.keeper()
    assert module.keeper().on_timeout is end_timed_out
