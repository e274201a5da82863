"""Jobs whose runner is gone: who is blamed, who is only suspected, and when it is enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from celadon.jobs import Recovered
from celadon.ledger import claims, recovery
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import alerts, attempts
from celadon.states import Outcome, State
from tests.contract.given import (
    LEASE_S,
    NAME,
    ON_POSTGRESQL,
    OTHER,
    WORKER,
    a_claim,
    a_job,
    change,
    count,
    let_its_lease_run_out,
    race,
    row,
)

pytestmark = pytest.mark.usefixtures("ledger")

LIMIT = 3  # CRASH_LIMIT's default.


def unseen(job_id: str) -> list[Recovered]:
    """Its worker goes silent, and its lease runs out."""
    let_its_lease_run_out(job_id)
    return recovery.reap()


def witnessed(job_id: str) -> list[Recovered]:
    """Its process, in which it was alone, is seen to die."""
    return recovery.release_dead(WORKER)


def outcomes(job_id: str) -> list[str]:
    with reading() as connection:
        rows = connection.execute(select(attempts.c.outcome).where(attempts.c.job_id == job_id).order_by("epoch"))
        return list(rows.scalars())


def test_a_lease_that_stands_is_left_alone():
    claim = a_claim()

    assert recovery.reap() == []

    assert row(claim.job_id).state == State.RUNNING


def test_a_lease_that_ran_out_puts_the_job_back_at_once_and_burns_no_try():
    claim = a_claim()

    (recovered,) = unseen(claim.job_id)
    assert (recovered.job_id, recovered.name, recovered.state) == (claim.job_id, NAME, State.QUEUED)
    assert (recovered.outcome, recovered.worker, recovered.queue) == (Outcome.CRASHED, WORKER, "default")

    kept = row(claim.job_id)
    assert (kept.state, kept.attempt, kept.sends) == (State.QUEUED, 0, 0)
    assert kept.send_due is not None
    assert outcomes(claim.job_id) == [Outcome.CRASHED]


def test_a_job_whose_worker_fell_silent_is_a_suspect_to_be_run_alone_but_not_blamed():
    claim = a_claim()

    unseen(claim.job_id)

    assert (row(claim.job_id).crashes, row(claim.job_id).quarantine) == (0, True)


def test_a_job_whose_own_process_was_seen_to_die_is_blamed():
    claim = a_claim()

    witnessed(claim.job_id)

    assert (row(claim.job_id).crashes, row(claim.job_id).quarantine) == (1, True)


def test_a_job_in_quarantine_is_blamed_for_a_lease_that_ran_out():
    claim = a_claim()
    unseen(claim.job_id)

    a_claim(claim.job_id)
    unseen(claim.job_id)

    assert row(claim.job_id).crashes == 1


@pytest.mark.parametrize(("crash", "runs"), [(witnessed, LIMIT), (unseen, LIMIT + 1)])
def test_a_job_that_kills_its_processes_is_dead_at_the_crash_limit_with_one_alert(
    crash: Callable[[str], list[Recovered]], runs: int
):
    job_id = a_job()

    for _ in range(runs):
        assert row(job_id).state == State.QUEUED
        a_claim(job_id)
        crash(job_id)

    kept = row(job_id)
    assert (kept.state, kept.crashes, kept.error_kind, kept.attempt) == (State.DEAD, LIMIT, "CrashLimit", 0)
    assert "died 3 times while the job was alone in it" in kept.error_message
    assert kept.finished_at is not None
    assert kept.send_due is None
    assert outcomes(job_id) == [Outcome.CRASHED] * runs
    assert count(alerts, alerts.c.job_id == job_id, alerts.c.kind == "dead") == 1


def test_bystanders_of_a_crash_are_never_condemned():
    # Given a job that always shares its process with another, and whose worker dies again and again.
    job_id = a_job()

    for _ in range(LIMIT * 2):
        a_claim(job_id)
        unseen(job_id)
        change(job_id, quarantine=False)

    assert (row(job_id).state, row(job_id).crashes) == (State.QUEUED, 0)


def test_leases_lost_while_the_ledger_was_away_are_nobodys_crash():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        now = clock(connection)

    recovery.reap(amnesty_until=now)

    kept = row(claim.job_id)
    assert (kept.state, kept.crashes, kept.quarantine) == (State.QUEUED, 0, False)
    assert outcomes(claim.job_id) == [Outcome.LOST]


def test_a_lease_that_ran_out_after_the_amnesty_is_a_crash():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        an_hour_ago = clock(connection) - timedelta(hours=1)

    recovery.reap(amnesty_until=an_hour_ago)

    assert outcomes(claim.job_id) == [Outcome.CRASHED]
    assert row(claim.job_id).quarantine


def test_an_amnesty_does_not_lift_a_quarantine():
    claim = a_claim()
    unseen(claim.job_id)
    a_claim(claim.job_id)
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        now = clock(connection)

    recovery.reap(amnesty_until=now)

    assert (row(claim.job_id).quarantine, row(claim.job_id).crashes) == (True, 0)


def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_runner_is_gone():
    claim = a_claim()
    change(claim.job_id, cancel_requested=True, crashes=LIMIT - 1)

    witnessed(claim.job_id)

    assert row(claim.job_id).state == State.CANCELLED
    assert row(claim.job_id).finished_at is not None
    assert count(alerts) == 0


def test_only_what_the_dead_process_held_is_released():
    mine, others = a_claim(), a_claim(worker=OTHER)
    finished = a_claim()
    claims.finish(finished, None)

    assert [one.job_id for one in recovery.release_dead(WORKER)] == [mine.job_id]

    assert row(others.job_id).state == State.RUNNING
    assert row(finished.job_id).state == State.SUCCEEDED


def test_a_process_holds_what_it_claimed_until_it_is_released():
    claim = a_claim()
    assert (recovery.holds(WORKER), recovery.holds(OTHER)) == (True, False)

    recovery.release_dead(WORKER)
    assert not recovery.holds(WORKER)

    claims.finish(a_claim(claim.job_id), None)
    assert not recovery.holds(WORKER)


@ON_POSTGRESQL
def test_a_row_that_is_locked_is_left_to_a_second_look():
    # Given a process that held two jobs when it died, and its dying transaction still has one of them locked.
    locked, free = a_claim(), a_claim()

    with begin() as connection:
        claims.fence(connection, locked, LEASE_S)

        # A wait for the lock would be a deadlock with ourselves, and the test's time-out.
        assert [one.job_id for one in recovery.release_dead(WORKER)] == [free.job_id]
        assert recovery.holds(WORKER)

    assert [one.job_id for one in recovery.release_dead(WORKER)] == [locked.job_id]
    assert not recovery.holds(WORKER)


def test_several_schedulers_reap_a_job_once():
    claims_ = [a_claim() for _ in range(6)]
    for claim in claims_:
        change(claim.job_id, lease_until=at(-1))

    recovered = [one.job_id for found in race(4, lambda _: recovery.reap()) for one in found]

    assert sorted(recovered) == sorted(claim.job_id for claim in claims_)
    assert count(attempts) == len(claims_)
    assert {row(claim.job_id).epoch for claim in claims_} == {2}
