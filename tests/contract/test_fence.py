"""The fence: every departure raises the epoch, and a write that names an old one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from celadon.errors import LostClaim
from celadon.jobs import Claim
from celadon.ledger import claims, marks, recovery
from celadon.ledger.db import begin, reading
from celadon.ledger.tables import alerts, attempts, jobs, metadata, steps
from celadon.states import Outcome, State
from tests.contract.given import (
    FAILURE,
    LEASE_S,
    ON_POSTGRESQL,
    OTHER,
    WORKER,
    a_claim,
    a_job,
    claim_as_of_now,
    count,
    let_its_lease_run_out,
    race,
    row,
)

pytestmark = pytest.mark.usefixtures("ledger")

LATER = datetime(2040, 1, 1, tzinfo=UTC)


def reap(claim: Claim) -> None:
    let_its_lease_run_out(claim.job_id)
    recovery.reap()


def keep_the_claim(claim: Claim) -> None:
    with begin() as connection:
        claims.fence(connection, claim, LEASE_S)


def mark_done(claim: Claim) -> None:
    with begin() as connection:
        marks.done(connection, claim, "step", {"new": True}, LEASE_S)


DEPARTURES: dict[str, tuple[Callable[[Claim], Any], State, Outcome]] = {
    "finish": (lambda claim: claims.finish(claim, {"ok": 1}), State.SUCCEEDED, Outcome.SUCCEEDED),
    "fail, to be tried again": (
        lambda claim: claims.fail(claim, FAILURE, retry_in_s=5, alert_after=3),
        State.SCHEDULED,
        Outcome.FAILED,
    ),
    "fail for good": (
        lambda claim: claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3),
        State.DEAD,
        Outcome.FAILED,
    ),
    "run out of time": (
        lambda claim: claims.fail(claim, FAILURE, retry_in_s=5, alert_after=3, outcome=Outcome.TIMED_OUT),
        State.SCHEDULED,
        Outcome.TIMED_OUT,
    ),
    "give back": (claims.give_back, State.QUEUED, Outcome.INTERRUPTED),
    "postpone": (lambda claim: claims.postpone(claim, 2), State.SCHEDULED, Outcome.INTERRUPTED),
    "sleep": (lambda claim: claims.sleep(claim, LATER), State.SCHEDULED, Outcome.ASLEEP),
    "end cancelled": (claims.end_cancelled, State.CANCELLED, Outcome.CANCELLED),
    "lease reaped": (reap, State.QUEUED, Outcome.CRASHED),
    "process seen dead": (lambda _: recovery.release_dead(WORKER), State.QUEUED, Outcome.CRASHED),
}

FENCED_WRITES: dict[str, Callable[[Claim], Any]] = {
    **{
        name: DEPARTURES[name][0]
        for name, (_, _, outcome) in DEPARTURES.items()
        if outcome not in (Outcome.CRASHED, Outcome.TIMED_OUT)
    },
    "extend the lease in a step": keep_the_claim,
    "begin a step": lambda claim: marks.start(claim, "step", "key", LEASE_S),
    "mark a step done": mark_done,
    "record a step's error": lambda claim: marks.failed(claim, "step", "no", LEASE_S),
    "begin a sleep": lambda claim: marks.start_sleep(claim, "nap", "key", 5, LEASE_S),
}


def everything() -> dict[str, Any]:
    """All that the ledger holds."""
    with reading() as connection:
        return {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}


@pytest.mark.parametrize("name", DEPARTURES)
def test_every_departure_raises_the_epoch_drops_the_lease_and_records_the_attempt(name):
    depart, state, outcome = DEPARTURES[name]
    claim = a_claim()

    depart(claim)

    kept = row(claim.job_id)
    assert (kept.state, kept.epoch, kept.lease_until) == (state, claim.epoch + 1, None)
    with reading() as connection:
        attempt = connection.execute(select(attempts)).one()
    assert (attempt.job_id, attempt.epoch, attempt.number) == (claim.job_id, claim.epoch, 1)
    assert (attempt.outcome, attempt.worker, attempt.engine) == (outcome, WORKER, "worker")
    assert claim.claimed_at == attempt.started_at <= attempt.ended_at


@pytest.mark.parametrize("name", FENCED_WRITES)
def test_a_stale_write_is_refused_and_changes_nothing_while_another_run_has_the_job(name):
    stale = a_claim()
    marks.start(stale, "step", "key", LEASE_S)
    claims.give_back(stale)
    a_claim(stale.job_id, worker=OTHER)
    before = everything()

    with pytest.raises(LostClaim, match=f"epoch {stale.epoch} is no longer the running one"):
        FENCED_WRITES[name](stale)

    assert everything() == before


@pytest.mark.parametrize("state", [State.QUEUED, State.SUCCEEDED])
@pytest.mark.parametrize("name", FENCED_WRITES)
def test_a_write_with_the_right_epoch_is_refused_all_the_same_when_nobody_runs_the_job(name, state):
    job_id = a_job()
    claim = a_claim(job_id)
    if state == State.SUCCEEDED:
        claims.finish(claim, None)
    else:
        claims.give_back(claim)
    present = claim_as_of_now(job_id)
    before = everything()

    with pytest.raises(LostClaim):
        FENCED_WRITES[name](present)

    assert everything() == before


@pytest.mark.parametrize("name", DEPARTURES)
def test_a_run_departs_once(name):
    depart, state, _ = DEPARTURES[name]
    claim = a_claim()

    depart(claim)

    with pytest.raises(LostClaim):
        claims.finish(claim, "twice")
    assert row(claim.job_id).state == state
    assert count(attempts) == 1


def test_of_two_departures_at_once_one_happens():
    claim = a_claim()

    def leave(number: int) -> State | None:
        try:
            return claims.finish(claim, number) if number % 2 else claims.give_back(claim)
        except LostClaim:
            return None

    left = [state for state in race(6, leave) if state is not None]

    assert left == [row(claim.job_id).state]
    assert count(attempts) == 1


def test_a_cancel_that_was_asked_for_wins_over_going_on_but_not_over_success():
    going_on, done = a_claim(), a_claim()
    for claim in (going_on, done):
        with begin() as connection:
            connection.execute(jobs.update().where(jobs.c.id == claim.job_id).values(cancel_requested=True))

    assert claims.give_back(going_on) == State.CANCELLED
    assert claims.finish(done, None) == State.SUCCEEDED
    assert row(going_on.job_id).finished_at is not None


def test_the_fence_says_whether_a_cancel_was_asked_for():
    claim = a_claim()
    with begin() as connection:
        assert claims.fence(connection, claim, LEASE_S) is False
    with begin() as connection:
        connection.execute(jobs.update().values(cancel_requested=True))
    with begin() as connection:
        assert claims.fence(connection, claim, LEASE_S) is True


@ON_POSTGRESQL
def test_no_departure_slips_in_between_the_fence_and_the_commit_of_a_step():
    claim = a_claim()
    marks.start(claim, "step", "key", LEASE_S)

    with begin() as connection:
        marks.done(connection, claim, "step", "mine", LEASE_S)
        # Whoever recovers jobs now passes by: the row is locked until the step's commit.
        assert recovery.release_dead(WORKER) == []

    assert [found.job_id for found in recovery.release_dead(WORKER)] == [claim.job_id]
    assert count(steps, steps.c.state == "done") == 1
    assert count(alerts) == 0
