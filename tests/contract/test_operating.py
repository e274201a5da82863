"""What an operator does to one job: cancel it, replay it, make it due at another time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from celadon.errors import CancelRequested, InvalidOption, LedgerUnavailable, NotAllowed, UnknownJobId
from celadon.ledger import claims, looking, marks, moving, recovery, switches
from celadon.ledger.db import begin, reading
from celadon.ledger.operating import cancel, replay, reschedule, run_now
from celadon.ledger.tables import audit, jobs
from celadon.states import FINAL, Outcome, State
from tests.contract.given import (
    FAILURE,
    LEASE_S,
    ON_POSTGRESQL,
    WORKER,
    a_claim,
    a_job,
    a_job_that_is,
    count,
    race,
    row,
)

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.mark.parametrize("state", State)
def test_a_job_that_does_not_run_is_cancelled_at_once_a_running_one_is_asked_a_final_one_stays(state):
    job_id = a_job_that_is(state)
    before = row(job_id)

    told = cancel(job_id, actor="ada")

    kept = row(job_id)
    assert told == kept.state
    if state in FINAL:
        assert kept == before
    elif state == State.RUNNING:
        assert (kept.state, kept.cancel_requested, kept.epoch) == (State.RUNNING, True, before.epoch)
    else:
        assert (kept.state, kept.error_kind, kept.error_message) == (State.CANCELLED, "cancelled", "by ada")
        assert kept.send_due is None
        assert claims.claim(job_id, worker=WORKER, engine="worker", lease_s=LEASE_S) is None


@ON_POSTGRESQL
def test_a_command_does_not_wait_long_for_a_job_that_somebody_holds():
    job_id = a_job()

    with begin() as frozen:
        frozen.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
        with pytest.raises(LedgerUnavailable, match="Somebody else holds the job"):
            cancel(job_id, patience_s=0.1)

    assert cancel(job_id, patience_s=0.1) == State.CANCELLED


@pytest.mark.parametrize("boundary", ["step", "sleep"])
def test_a_running_job_sees_the_request_at_its_next_step_or_sleep(boundary):
    claim = a_claim()
    cancel(claim.job_id)

    with pytest.raises(CancelRequested):
        if boundary == "step":
            marks.start(claim, "step", "key", LEASE_S)
        else:
            marks.start_sleep(claim, "nap", "key", 5, LEASE_S)

    # Nothing of the step stays, and the run ends as asked.
    assert marks.step_views(claim.scope) == {}
    assert claims.end_cancelled(claim) == State.CANCELLED


def test_a_cancel_and_a_claim_at_once_never_lose_the_request():
    for _ in range(4):
        job_id = a_job()

        def act(number: int, job_id: str = job_id) -> object:
            if number:
                return cancel(job_id)
            return claims.claim(job_id, worker=WORKER, engine="worker", lease_s=LEASE_S)

        claim, told = race(2, act)

        kept = row(job_id)
        if claim is None:
            assert told == kept.state == State.CANCELLED
        else:
            assert (told, kept.state, kept.cancel_requested) == (State.RUNNING, State.RUNNING, True)


def delay_it(job_id: str) -> object:
    return reschedule(job_id, delay=60)


@pytest.mark.parametrize("act", [cancel, replay, run_now, delay_it])
def test_there_is_nothing_to_do_to_an_unknown_job(act):
    with pytest.raises(UnknownJobId, match="There is no job 'nobody'") as error:
        act("nobody")

    assert error.value.job_id == "nobody"
    assert count(audit) == 0


@pytest.mark.parametrize("state", [state for state in State if state != State.DEAD])
def test_only_a_dead_job_can_be_replayed(state):
    job_id = a_job_that_is(state)

    with pytest.raises(NotAllowed, match=f"is {state}; only a dead job"):
        replay(job_id)

    assert row(job_id).state == state


def test_a_replayed_job_has_all_its_tries_again_and_keeps_its_history_and_marks():
    claim = a_claim()
    marks.start(claim, "first", "key", LEASE_S)
    with begin() as connection:
        marks.done(connection, claim, "first", {"n": 1}, LEASE_S)
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)

    replay(claim.job_id)

    kept = row(claim.job_id)
    assert (kept.state, kept.attempt, kept.replays, kept.finished_at) == (State.WAITING, 0, 1, None)
    assert moving.release() == 1
    again = a_claim(claim.job_id)
    assert again.epoch > claim.epoch
    assert marks.start(again, "first", "key", LEASE_S).result == {"n": 1}
    claims.finish(again, "done")
    view = looking.find(claim.job_id)
    assert view is not None
    assert [attempt.outcome for attempt in view.attempts] == [Outcome.FAILED, Outcome.SUCCEEDED]
    assert (view.state, view.result, view.error) == (State.SUCCEEDED, "done", None)


def test_a_replay_forgives_crashes_quarantine_and_an_old_request_to_cancel():
    claim = a_claim()
    for _ in range(3):
        recovery.release_dead(WORKER)
        claims.claim(claim.job_id, worker=WORKER, engine="worker", lease_s=LEASE_S, alone=True)
    assert row(claim.job_id).state == State.DEAD

    replay(claim.job_id)

    kept = row(claim.job_id)
    assert (kept.crashes, kept.quarantine, kept.cancel_requested) == (0, False, False)


def test_a_replayed_job_is_not_cancelled_for_a_request_that_came_too_late_and_does_not_expire():
    claim = a_claim(expires_in_s=60.0)
    cancel(claim.job_id)
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)
    dead = row(claim.job_id)

    replay(claim.job_id)

    kept = row(claim.job_id)
    assert (dead.state, dead.cancel_requested) == (State.DEAD, True)
    assert (kept.cancel_requested, kept.expires_at) == (False, None)


def test_of_several_replays_at_once_one_counts():
    job_id = a_job_that_is(State.DEAD)

    def attempt(_: int) -> bool:
        try:
            replay(job_id)
        except NotAllowed:
            return False
        return True

    assert race(4, attempt).count(True) == 1
    assert row(job_id).replays == 1


@pytest.mark.parametrize("state", [state for state in State if state != State.SCHEDULED])
@pytest.mark.parametrize("act", [run_now, delay_it])
def test_only_a_scheduled_job_can_be_made_due_at_another_time(act, state):
    job_id = a_job_that_is(state)
    before = row(job_id)

    with pytest.raises(NotAllowed, match=f"is {state}; only a scheduled job"):
        act(job_id)

    assert row(job_id) == before


def test_a_job_that_was_to_run_later_runs_now():
    job_id = a_job_that_is(State.SCHEDULED)
    assert moving.promote() == 0

    run_now(job_id)

    # The arrow out of `scheduled` is the scheduler's, as always.
    assert row(job_id).state == State.SCHEDULED
    assert moving.promote() == 1
    assert row(job_id).state == State.QUEUED


def test_a_job_that_backs_off_after_an_error_runs_now_and_keeps_count_of_its_tries():
    claim = a_claim()
    claims.fail(claim, FAILURE, retry_in_s=3600, alert_after=3)

    run_now(claim.job_id)

    assert moving.promote() == 1
    assert row(claim.job_id).attempt == 1


def test_what_is_paused_is_due_now_and_waits():
    job_id = a_job_that_is(State.SCHEDULED)
    switches.pause("queue", row(job_id).queue)

    run_now(job_id)
    moving.promote()

    assert row(job_id).state == State.WAITING


def test_a_job_is_made_due_earlier_or_later():
    job_id = a_job_that_is(State.SCHEDULED)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)

    assert reschedule(job_id, run_at=tomorrow) == row(job_id).run_at == tomorrow
    due = reschedule(job_id, delay=timedelta(minutes=1))
    assert due == row(job_id).run_at
    assert 50 < (due - datetime.now(UTC)).total_seconds() < 70
    reschedule(job_id, run_at=datetime.now(UTC) - timedelta(days=1))
    assert moving.promote() == 1


@pytest.mark.parametrize(
    ("given", "year"),
    [
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), 9999),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), 1970),
    ],
)
def test_a_time_beyond_what_a_database_can_hold_is_the_last_that_it_can(given, year):
    job_id = a_job_that_is(State.SCHEDULED)

    assert reschedule(job_id, run_at=given).year == year
    view = looking.find(job_id)
    assert view is not None
    assert view.as_dict()["run_at"].startswith(str(year))


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({}, "either run_at or delay"),
        ({"run_at": datetime.now(UTC), "delay": 1}, "either run_at or delay"),
        ({"delay": -1}, "delay=-1: from 0 s to ten years"),
        ({"delay": float("nan")}, "delay=nan"),
        ({"run_at": datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001
    ],
)
def test_a_time_that_can_not_be_meant_is_refused(when, told):
    job_id = a_job_that_is(State.SCHEDULED)
    before = row(job_id)

    with pytest.raises(InvalidOption, match=told):
        reschedule(job_id, **when)

    assert row(job_id) == before


@pytest.mark.parametrize("scope", [None, "order:1"])
@pytest.mark.parametrize("act", [run_now, delay_it])
def test_a_job_asleep_in_a_step_is_left_asleep(act, scope):
    claim = a_claim(scope=scope)
    nap = marks.start_sleep(claim, "cool-off", "key", 3600, LEASE_S)
    claims.sleep(claim, nap.wake_at)

    with pytest.raises(NotAllowed, match="sleeps in its step 'cool-off' until .* UTC.*it can be cancelled"):
        act(claim.job_id)

    assert row(claim.job_id).run_at == nap.wake_at
    assert cancel(claim.job_id) == State.CANCELLED


@pytest.mark.parametrize("act", [run_now, delay_it])
def test_a_job_that_shares_its_scope_is_left_asleep_on_anothers_mark_and_not_kept_by_it(act):
    claim = a_claim(scope="order:1")
    nap = marks.start_sleep(claim, "cool-off", "key", 3600, LEASE_S)
    claims.sleep(claim, nap.wake_at)
    asleep = a_claim(scope="order:1")
    claims.sleep(asleep, marks.start_sleep(asleep, "cool-off", "key", 5, LEASE_S).wake_at)
    for_later = a_job(scope="order:1", state=State.SCHEDULED, delay_s=7200.0)

    with pytest.raises(NotAllowed, match="sleeps in its step 'cool-off'"):
        act(asleep.job_id)
    act(for_later)

    assert row(asleep.job_id).run_at == nap.wake_at
    assert row(for_later).run_at < nap.wake_at


def test_a_job_whose_sleep_is_over_is_like_any_other():
    claim = a_claim()
    nap = marks.start_sleep(claim, "cool-off", "key", 0, LEASE_S)
    claims.sleep(claim, nap.wake_at + timedelta(hours=1))

    run_now(claim.job_id)

    assert moving.promote() == 1


def test_what_operators_do_is_written_down():
    job_id = a_job_that_is(State.DEAD)
    replay(job_id, actor="ada")
    cancel(job_id, actor="bob")
    later = a_job_that_is(State.SCHEDULED)
    due = reschedule(later, delay=5, actor="eve")
    run_now(later)

    with reading() as connection:
        done = connection.execute(select(audit).order_by(audit.c.id)).all()

    assert [(one.actor, one.action, one.subject) for one in done] == [
        ("ada", "replay", job_id),
        ("bob", "cancel", job_id),
        ("eve", "reschedule", later),
        ("operator", "run now", later),
    ]
    assert done[2].detail == {"run_at": due.isoformat()}
