"""The one function that runs a job: every way in which a run can end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celadon import JobView, Permanent, Steps, cancel, drain, find, submit
from celadon.errors import LedgerUnavailable
from celadon.ledger import claims, limits
from celadon.ledger.db import at
from celadon.limits import Limit
from celadon.run import Ran, Runner, describe, run_job
from celadon.states import Outcome, State
from tests.contract.given import WORKER, change, let_its_lease_run_out, row
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.unit.celadon.jobs import SCRIPT, Hopeless

pytestmark = pytest.mark.usefixtures("ledger")

Script = Callable[[Steps], Any]


@pytest.fixture(autouse=True)
def _not_draining() -> Iterator[None]:
    yield
    drain.reset()


def a_job(script: Script) -> str:
    SCRIPT.append(script)
    return submit("unit.scripted", {}, queue="data_sync").job_id


def run(job_id: str, **options: Any) -> Ran:
    return run_job(job_id, Runner(worker=WORKER, **options))


def found(job_id: str) -> JobView:
    view = find(job_id)
    assert view is not None
    return view


def outcomes(job_id: str) -> list[Outcome]:
    return [attempt.outcome for attempt in found(job_id).attempts]


def fail(error: BaseException) -> Script:
    def script(_: Steps) -> None:
        raise error

    return script


def test_a_job_that_returns_has_succeeded_with_its_result():
    job_id = a_job(lambda _: {"ok": [1, None]})

    ran = run(job_id)

    assert (ran.state, ran.error) == (State.SUCCEEDED, None)
    assert (found(job_id).result, outcomes(job_id)) == ({"ok": [1, None]}, [Outcome.SUCCEEDED])


def test_a_job_that_raises_is_tried_again_until_it_is_out_of_attempts():
    job_id = a_job(fail(ValueError("no luck")))

    states = []
    for _ in range(3):
        change(job_id, state=State.QUEUED)
        states.append(run(job_id).state)

    assert states == [State.SCHEDULED, State.SCHEDULED, State.DEAD]
    view = found(job_id)
    assert view.error is not None
    assert (view.attempt, view.error["kind"], view.error["message"]) == (3, "ValueError", "no luck")
    assert "ValueError: no luck" in (view.attempts[-1].error or "")


@pytest.mark.parametrize("error", [Permanent("never"), Hopeless("never")], ids=["Permanent", "declared permanent"])
def test_a_permanent_error_ends_the_job_at_once(error):
    job_id = a_job(fail(error))

    assert run(job_id).state == State.DEAD
    assert found(job_id).attempt == 1


def test_a_result_that_is_no_json_ends_the_job_at_once_and_names_its_type():
    job_id = a_job(lambda _: {1, 2})

    assert run(job_id).state == State.DEAD
    assert "returned set, which JSON can't hold" in (found(job_id).error or {})["message"]


def test_a_payload_that_no_longer_fits_ends_the_job_at_once():
    job_id = a_job(lambda _: None)
    change(job_id, payload={"removed": "field"})

    assert run(job_id).state == State.DEAD
    assert (found(job_id).error or {})["kind"] == "InvalidPayload"


def test_a_job_that_sleeps_is_scheduled_and_burns_nothing():
    job_id = a_job(lambda steps: steps.sleep("nap", 3600))

    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).attempt, outcomes(job_id)) == (0, [Outcome.ASLEEP])


def test_after_its_sleep_a_job_goes_on():
    job_id = a_job(lambda steps: [steps.sleep("nap", 0.001), steps.done("nap")])
    run(job_id)
    change(job_id, state=State.QUEUED)

    assert run(job_id).state == State.SUCCEEDED
    assert found(job_id).result == [None, True]


def test_a_short_sleep_is_waited_out_inline_and_a_long_one_is_not():
    short, long = a_job(lambda steps: steps.sleep("nap", 0.05)), "long"

    assert run(short, engine="inline", budget_s=5).state == State.SUCCEEDED

    long = a_job(lambda steps: steps.sleep("nap", 3600))
    assert run(long, engine="inline", budget_s=5).state == State.SCHEDULED


def test_a_stopping_worker_gives_a_job_back_at_its_next_step_unburnt():
    def script(steps: Steps) -> None:
        drain.begin()
        steps.run("next", lambda own: pytest.fail("the step must not run"))

    job_id = a_job(script)

    assert run(job_id).state == State.QUEUED
    assert (found(job_id).attempt, outcomes(job_id)) == (0, [Outcome.INTERRUPTED])


def test_an_inline_run_over_its_budget_gives_the_job_back_at_its_next_step():
    job_id = a_job(lambda steps: steps.run("next", lambda own: pytest.fail("the step must not run")))

    assert run(job_id, engine="inline", budget_s=-1).state == State.QUEUED


def test_a_cancelled_job_ends_at_its_next_step():
    def script(steps: Steps) -> None:
        cancel(job_id)
        steps.run("next", lambda own: pytest.fail("the step must not run"))

    job_id = a_job(script)

    assert run(job_id).state == State.CANCELLED
    assert outcomes(job_id) == [Outcome.CANCELLED]


def test_a_cancelled_job_in_a_long_loop_sees_the_request_within_the_time_of_a_renewal(ledger):
    def script(steps: Steps) -> None:
        cancel(job_id)
        eventually("a check sees the request", steps.check, within=5)

    with pointed(ledger_url=ledger, use_broker="false", lease_s="0.6", renew_s="0.05"):
        job_id = a_job(script)

        assert run(job_id).state == State.CANCELLED


def test_a_run_that_lost_its_claim_writes_nothing_more():
    def script(steps: Steps) -> str:
        let_its_lease_run_out(job_id)
        change(job_id, state=State.QUEUED, epoch=7, send_due=at())
        return "stale"

    job_id = a_job(script)

    ran = run(job_id)

    assert (ran.state, ran.claim is not None) == (None, True)
    assert (found(job_id).state, found(job_id).result, outcomes(job_id)) == (State.QUEUED, None, [])


def test_a_departure_can_not_be_swallowed_by_the_jobs_own_except():
    def script(steps: Steps) -> str:
        drain.begin()
        try:
            steps.run("next", lambda own: None)
        except Exception:
            return "swallowed"
        return "went on"

    assert run(a_job(script)).state == State.QUEUED


@pytest.mark.parametrize("independent", [False, True])
def test_a_job_that_can_not_go_on_for_lack_of_the_ledger_is_put_off_unburnt(independent):
    def away(own: Any) -> None:
        raise LedgerUnavailable("for a moment")

    def script(steps: Steps) -> None:
        if not independent:
            steps.run("step", away)
        with steps.independent():
            steps.run("step", away)

    job_id = a_job(script)

    # Not at once: given back to the queue, it would come round and round while the ledger stumbles.
    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).attempt, outcomes(job_id)) == (0, [Outcome.INTERRUPTED])
    assert 1 < (row(job_id).run_at - found(job_id).attempts[0].ended_at).total_seconds() < 5


def test_a_job_that_can_not_go_on_and_was_to_be_cancelled_is_cancelled():
    def script(_: Steps) -> None:
        change(job_id, cancel_requested=True)
        raise LedgerUnavailable("for a moment")

    job_id = a_job(script)

    assert run(job_id).state == State.CANCELLED


@pytest.mark.parametrize(("end", "draining"), [(SystemExit, True), (KeyboardInterrupt, False)])
def test_an_interpreter_that_ends_under_a_job_gives_it_back(end, draining):
    def script(_: Steps) -> None:
        if draining:
            drain.begin()
        raise end

    job_id = a_job(script)

    with pytest.raises(end):
        run(job_id)

    assert (found(job_id).state, outcomes(job_id)) == (State.QUEUED, [Outcome.INTERRUPTED])
    assert found(job_id).attempt == 0


def test_a_job_that_ends_the_interpreter_by_itself_has_failed_like_any_other():
    job_id = a_job(fail(SystemExit("a command line tool in a job")))

    states = []
    for _ in range(3):
        change(job_id, state=State.QUEUED)
        states.append(run(job_id).state)

    # Given back unburnt, it would run for ever.
    assert states == [State.SCHEDULED, State.SCHEDULED, State.DEAD]
    view = found(job_id)
    assert view.error is not None
    assert (view.error["kind"], view.error["message"]) == ("SystemExit", "a command line tool in a job")
    assert outcomes(job_id) == [Outcome.FAILED] * 3


def test_a_result_that_the_ledger_will_not_have_is_a_failure_and_does_not_keep_the_claim(monkeypatch):
    def refuse(*_: object) -> None:
        raise ValueError("the database will not have it")

    monkeypatch.setattr(claims, "finish", refuse)
    job_id = a_job(lambda _: "odd")

    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).error or {})["message"] == "the database will not have it"
    assert outcomes(job_id) == [Outcome.FAILED]


def test_what_can_not_be_claimed_says_why():
    job_id = a_job(lambda _: None)
    cancel(job_id)

    ran = run(job_id)

    assert ran.claim is None
    assert ran.why is not None
    assert ran.why.state == State.CANCELLED


def test_failures_of_one_cause_have_one_fingerprint():
    def of(message: str, kind: type[Exception] = ValueError) -> str:
        try:
            raise kind(message)
        except Exception as error:
            return describe(error).fingerprint

    assert of("order 17 of 2026-11-22 failed (deadbeef01)") == of("order 9 of 2025-01-01 failed (0badc0ffee)")
    assert len({of("order 1 failed"), of("mail 1 failed"), of("order 1 failed", KeyError)}) == 3


def test_a_very_long_error_is_cut_to_what_a_row_should_hold():
    failure = describe(ValueError("x" * 100_000))

    assert len(failure.message) == 2000
    assert len(failure.traceback) == 20_000


def test_a_run_that_comes_too_late_for_the_window_of_its_limit_does_not_begin_and_burns_nothing(monkeypatch):
    limits.set_limits("job", "unit.scripted", [Limit(starts=1, per_s=60)], actor="test")
    began: list[int] = []
    job_id = a_job(lambda _: began.append(1))
    monkeypatch.setattr("celadon.ledger.places.MARGIN_PART", 0.0)
    monkeypatch.setattr("celadon.ledger.places.start_later", lambda _: None)

    ran = run(job_id)

    assert (began, ran.state, ran.failed) == ([], State.QUEUED, False)
    assert "did not begin soon enough" in (ran.error or "")
    assert (row(job_id).attempt, outcomes(job_id)) == (0, [Outcome.INTERRUPTED])
    assert row(job_id).reserved_at is None


def test_the_end_of_a_run_that_a_limit_counted_lets_the_next_go_whatever_came_of_it():
    limits.set_limits("job", "unit.scripted", [Limit(concurrency=1)], actor="test")
    ids = [a_job(fail(Permanent("no"))) for _ in range(3)]
    assert [row(job_id).state for job_id in ids] == [State.QUEUED, State.WAITING, State.WAITING]

    assert run(ids[0]).state == State.DEAD

    assert [row(job_id).state for job_id in ids] == [State.DEAD, State.QUEUED, State.WAITING]


def test_a_ledger_that_goes_away_after_a_run_takes_nothing_from_it(monkeypatch):
    limits.set_limits("job", "unit.scripted", [Limit(concurrency=1)], actor="test")
    job_id = a_job(lambda _: "done")

    def away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable

    monkeypatch.setattr("celadon.ledger.limits.release", away)

    assert run(job_id).state == State.SUCCEEDED
