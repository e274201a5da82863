"""What is counted and logged of each event; nothing of it may break a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from celadon import Permanent, Steps, cancel, drain, errors, monitors, sentry, submit, telemetry
from celadon.bulk import Submission, submit_many
from celadon.keeper import Running
from celadon.ledger import session
from celadon.ledger.db import at, clock, reading
from celadon.ledger.recovery import reap, release_dead
from celadon.metrics import declared
from celadon.run import Runner, end_timed_out, run_job
from celadon.states import Outcome, State
from tests.contract.given import WORKER, a_claim, a_job, change, let_its_lease_run_out, row
from tests.contract.pointed import pointed
from tests.unit.celadon.jobs import SCRIPT

pytestmark = pytest.mark.usefixtures("ledger")

JOB = "unit.scripted"
Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Our own lines of this test."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def _not_draining() -> Iterator[None]:
    yield
    drain.reset()


def value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def attempts(outcome: Outcome, job: str = JOB) -> float:
    return value("celadon_attempts_total", name=job, outcome=outcome)


def submissions(outcome: str, job: str = JOB) -> float:
    return value("celadon_submissions_total", name=job, outcome=outcome)


def events(logged: Logged, event: str) -> Logged:
    return [line for line in logged if line["event"] == event]


def a_run(script: Callable[[Steps], Any]) -> str:
    SCRIPT.append(script)
    job_id = submit(JOB, {}, queue="data_sync").job_id
    run_job(job_id, Runner(worker=WORKER))
    return job_id


def fail(_: Steps) -> None:
    raise Permanent("no luck")


def be_stopped(steps: Steps) -> None:
    drain.begin()
    steps.check()


def be_cancelled(steps: Steps) -> None:
    cancel(steps._run.claim.job_id)
    steps.run("next", lambda own: None)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (lambda _: None, Outcome.SUCCEEDED),
        (fail, Outcome.FAILED),
        (lambda steps: steps.sleep("nap", 3600), Outcome.ASLEEP),
        (be_stopped, Outcome.INTERRUPTED),
        (be_cancelled, Outcome.CANCELLED),
    ],
)
def test_an_attempt_that_ends_is_counted_by_its_outcome_and_its_length(
    script: Callable[[Steps], Any], outcome: Outcome
) -> None:
    before, ran = attempts(outcome), value("celadon_run_seconds_count", name=JOB)

    a_run(script)

    assert attempts(outcome) == before + 1
    assert value("celadon_run_seconds_count", name=JOB) == ran + 1


def test_an_attempt_that_runs_out_of_time_is_counted_once_though_it_ends_later_too() -> None:
    before = attempts(Outcome.TIMED_OUT), attempts(Outcome.SUCCEEDED)

    def be_late(steps: Steps) -> None:
        assert end_timed_out(steps._run)

    a_run(be_late)

    assert (attempts(Outcome.TIMED_OUT), attempts(Outcome.SUCCEEDED)) == (before[0] + 1, before[1])


def test_attempts_that_their_process_did_not_survive_are_counted_by_whoever_recovers_them(logged: Logged) -> None:
    before = attempts(Outcome.CRASHED), attempts(Outcome.LOST)
    for job_id in (a_claim(name=JOB).job_id, a_claim(name=JOB).job_id):
        let_its_lease_run_out(job_id)
    with reading() as connection:
        now = clock(connection)
    reap(limit=1)
    reap(amnesty_until=now)
    a_claim(name=JOB, worker="host:boot:77")
    release_dead("host:boot:77")

    assert (attempts(Outcome.CRASHED), attempts(Outcome.LOST)) == (before[0] + 2, before[1] + 1)
    told = events(logged, "job.recovered")
    assert [line["outcome"] for line in told] == ["crashed", "lost", "crashed"]
    assert told[-1]["worker"] == "host:boot:77"


def test_the_metric_says_which_outcomes_there_are() -> None:
    assert [outcome for outcome in Outcome if outcome not in declared.ATTEMPTS.meaning] == []


def test_a_pick_up_is_measured_by_queue_and_the_lateness_of_what_was_promised() -> None:
    picked_up, late = value("celadon_pickup_seconds_sum", queue="data_sync"), value("celadon_lateness_seconds_sum")
    SCRIPT.append(lambda _: None)
    job_id = submit(JOB, {}, queue="data_sync", delay=60).job_id
    change(job_id, state=State.QUEUED, created_at=at(-1000), run_at=at(-100), queued_at=at(-30), send_due=at())

    run_job(job_id, Runner(worker=WORKER))

    assert 30 <= value("celadon_pickup_seconds_sum", queue="data_sync") - picked_up < 35
    assert 100 <= value("celadon_lateness_seconds_sum") - late < 105


def test_a_run_is_two_lines_with_the_fields_of_its_job(logged: Logged) -> None:
    job_id = a_run(lambda _: None)

    (started,), (ended,) = events(logged, "job.started"), events(logged, "job.ended")
    for line in (started, ended):
        assert (line["job_id"], line["job"], line["queue"], line["attempt"], line["epoch"]) == (
            *(job_id, JOB, "data_sync"),
            *(1, 1),
        )
    assert (started["engine"], started["worker"]) == ("worker", WORKER)
    assert (ended["outcome"], ended["state"]) == ("succeeded", "succeeded")


def test_a_failed_run_ends_with_a_warning_that_carries_the_error(logged: Logged) -> None:
    a_run(fail)

    (failed,) = events(logged, "job.failed")
    assert (failed["log_level"], failed["error"], failed["state"]) == ("warning", "no luck", "dead")
    assert isinstance(failed["exc_info"], Permanent)
    assert events(logged, "job.ended") == []


# --- submissions ------------------------------------------------------------------------------------------------------


def test_a_submission_is_counted_by_its_outcome_and_its_length(logged: Logged) -> None:
    before, took = submissions("deferred", "unit.deferred"), value("celadon_submit_seconds_count")

    receipt = submit("unit.deferred", {})

    assert submissions("deferred", "unit.deferred") == before + 1
    assert value("celadon_submit_seconds_count") == took + 1
    (line,) = events(logged, "job.submitted")
    assert (line["job_id"], line["job"], line["outcome"]) == (receipt.job_id, "unit.deferred", "deferred")


def test_a_submission_in_a_session_is_counted_once_it_is_committed_and_not_when_it_is_rolled_back() -> None:
    before = submissions("deferred", "unit.deferred")
    with session() as own:
        submit("unit.deferred", {}, session=own)
        own.rollback()
        submit("unit.deferred", {}, session=own)
        assert submissions("deferred", "unit.deferred") == before
        own.commit()

    assert submissions("deferred", "unit.deferred") == before + 1
    assert submissions("pending", "unit.deferred") == 0


@pytest.mark.parametrize("joined", [False, True])
def test_a_key_that_was_used_is_counted_as_a_duplicate(joined: bool) -> None:
    key = f"key-{joined}"
    submit("unit.deferred", {}, key=key)
    before = submissions("duplicate", "unit.deferred")

    if joined:
        with session() as own:
            submit("unit.deferred", {}, key=key, session=own)
            own.rollback()
    else:
        submit("unit.deferred", {}, key=key)

    assert submissions("duplicate", "unit.deferred") == before + 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"payload": {"word": ["no", "word"]}}, errors.InvalidPayload),
        ({"queue": "no-such-queue"}, errors.UnknownQueue),
        ({"priority": 10}, errors.InvalidOption),
    ],
)
def test_a_refusal_is_counted_by_the_class_of_its_error(
    options: dict[str, Any], error: type[Exception], logged: Logged
) -> None:
    before = submissions(error.__name__, "unit.deferred")

    with pytest.raises(error):
        submit("unit.deferred", **{"payload": {}, **options})

    assert submissions(error.__name__, "unit.deferred") == before + 1
    assert [line["error"] for line in events(logged, "job.refused")] == [error.__name__]


def test_a_name_that_is_not_declared_never_becomes_a_label(logged: Logged) -> None:
    before = submissions("UnknownJob", telemetry.UNKNOWN)

    for number in range(3):
        with pytest.raises(errors.UnknownJob):
            submit(f"made.up.{number}", {})

    assert submissions("UnknownJob", telemetry.UNKNOWN) == before + 3
    labels = {sample.labels.get("name", "") for family in REGISTRY.collect() for sample in family.samples}
    assert not [label for label in labels if "made.up" in label]
    assert "made.up" not in str(logged)


def test_a_ledger_that_is_away_is_counted_for_each_submission_that_it_cost(ledger: str) -> None:
    before = submissions("LedgerUnavailable", "unit.deferred")

    with pointed(ledger_url="sqlite:////no/such/folder/x.db", use_broker="false"):
        with pytest.raises(errors.LedgerUnavailable):
            submit("unit.deferred", {})
        with pytest.raises(errors.LedgerUnavailable):
            submit_many([Submission(name="unit.deferred", payload={})] * 2)

    assert submissions("LedgerUnavailable", "unit.deferred") == before + 3


def test_each_job_of_a_bulk_is_counted() -> None:
    before = submissions("deferred", "unit.deferred"), submissions("InvalidPayload", "unit.deferred")

    submit_many([Submission(name="unit.deferred", payload=payload) for payload in ({}, {"x": 1}, {})])

    after = submissions("deferred", "unit.deferred"), submissions("InvalidPayload", "unit.deferred")
    assert after == (before[0] + 2, before[1] + 1)


# --- what fails -------------------------------------------------------------------------------------------------------


def test_an_observer_that_fails_is_logged_once_and_harms_no_job(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(declared.RUN_SECONDS, "observe", broken)
    monkeypatch.setattr(telemetry, "_failed", set())

    jobs = [a_run(lambda _: None) for _ in range(3)]

    assert [row(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 3
    (told,) = events(logged, "telemetry.failed")
    assert told["observer"] == "celadon.telemetry._count_ended"


def test_one_part_that_fails_keeps_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    heard: list[str] = []

    def hears(name: str) -> Callable[..., None]:
        def hear(*_: object, **__: object) -> None:
            heard.append(name)
            raise OSError("away")

        hear.__qualname__ = name
        return hear

    for part in (declared.PICKUP_SECONDS, declared.RUN_SECONDS):
        monkeypatch.setattr(part, "observe", hears("a metric"))
    monkeypatch.setattr(declared.ATTEMPTS, "add", hears("a metric"))
    for module, name in (
        (monitors, "begun"),
        (monitors, "ended"),
        (sentry, "failed"),
        (sentry, "crashed"),
    ):
        monkeypatch.setattr(module, name, hears(name))

    a_run(fail)
    let_its_lease_run_out(a_claim(name=JOB).job_id)
    reap()

    assert heard == [
        *("a metric", "begun"),
        *("a metric", "failed", "ended"),
        *("a metric", "crashed", "ended"),
    ]


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    before = value("celadon_pickup_seconds_sum", queue="default")
    claim = a_claim(a_job())
    later = datetime.now(UTC) + timedelta(hours=1)

    telemetry.claimed(replace(claim, queued_at=later))

    assert value("celadon_pickup_seconds_sum", queue="default") == before


def test_a_claim_that_was_lost_is_counted_by_whoever_took_it_and_by_nobody_else() -> None:
    before = attempts(Outcome.SUCCEEDED)

    def lose(steps: Steps) -> str:
        running: Running = steps._run
        change(running.claim.job_id, state=State.QUEUED, epoch=7, send_due=at())
        return "stale"

    a_run(lose)

    assert attempts(Outcome.SUCCEEDED) == before
