"""`delay()` and `apply_async()`: Celery's ways in, kept by the ledger or refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, group

from celadon.errors import InvalidOption, UnknownJobId
from celadon.ledger.tables import jobs
from celadon.result import JobFailed, JobResult
from celadon.run import Runner, run_job
from celadon.states import State
from tests.contract.given import change, count, row
from tests.unit.celadon.jobs import RAN, SCRIPT, deferred, inline, routed, scripted

pytestmark = pytest.mark.usefixtures("ledger")


def test_delay_submits_with_positional_and_named_arguments():
    by_position, by_name = deferred.delay("a"), deferred.delay(word="b")

    assert row(by_position.id).payload == {"word": "a"}
    assert row(by_name.id).payload == {"word": "b"}


def test_more_arguments_than_there_are_fields_are_refused():
    with pytest.raises(InvalidOption, match=r"unit.deferred takes 1 arguments \(word\); 2 were given"):
        deferred.delay("a", "b")


def test_celerys_times_are_kept_by_the_ledger():
    later = datetime.now(UTC) + timedelta(hours=1)
    counted, dated = routed.apply_async(countdown=60), routed.apply_async(eta=later, expires=later)
    short = routed.apply_async(queue="data_sync", expires=60)

    for result in (counted, dated):
        assert row(result.id).state == State.SCHEDULED
        assert row(result.id).queue == "scheduled"
    assert abs(row(dated.id).run_at - later) < timedelta(milliseconds=2)
    assert abs(row(dated.id).expires_at - later) < timedelta(seconds=5)
    assert row(short.id).expires_at - row(short.id).created_at < timedelta(seconds=61)


def test_options_of_submit_may_be_given_too():
    result = deferred.apply_async(key="k", priority=3, tenant="acme")

    assert (row(result.id).priority, row(result.id).tenant) == (3, "acme")
    assert deferred.apply_async(key="k", tenant="acme").id == result.id


@pytest.mark.parametrize(
    ("option", "alternative"),
    [
        ("link", "submit the next job at the end of this one"),
        ("link_error", "alert_after"),
        ("chord", "steps of one job"),
        ("chain", "steps of one job"),
        ("group_id", "submit each job by itself"),
        ("task_id", "use key="),
        ("retry", "the ledger sends again"),
        ("serializer", "payloads are JSON"),
        ("time_limit", "timeout="),
        ("soft_time_limit", "timeout="),
        ("exchange", "queue="),
        ("routing_key", "queue="),
        ("nonsense", "known are key, run_at"),
    ],
)
def test_what_a_ledger_job_can_not_keep_is_refused_by_name_with_the_alternative(option, alternative):
    with pytest.raises(InvalidOption, match=rf"unit.deferred.apply_async\({option}=…\) can't be kept.*{alternative}"):
        deferred.apply_async(**{option: "x"})

    assert count(jobs) == 0


@pytest.mark.parametrize(
    "canvas",
    [
        lambda: chain(deferred.s(), deferred.si()),
        lambda: group(deferred.s(), deferred.s()),
        lambda: deferred.s().on_error(deferred.si()),
    ],
    ids=["chain", "group", "on_error"],
)
def test_canvas_is_refused_and_starts_nothing(canvas):
    with pytest.raises(InvalidOption, match="can't be kept by a ledger job"):
        canvas().apply_async()

    assert count(jobs) == 0


def test_a_plain_signature_is_submitted():
    assert row(deferred.s("a").delay().id).payload == {"word": "a"}


def test_a_result_reads_like_celerys():
    RAN.clear()
    result = inline.delay("hello")

    assert (result.id, result.task_id) == (result.receipt.job_id, result.receipt.job_id)
    assert repr(result) == f"<JobResult: {result.id}>"
    assert (result.state, result.status) == ("SUCCESS", "SUCCESS")
    assert (result.ready(), result.successful(), result.failed()) == (True, True, False)
    assert result.get() == result.result == {"word": "hello"}


def test_a_result_that_is_not_there_yet_is_waited_for_so_long():
    result = deferred.delay()

    assert (result.state, result.ready()) == ("PENDING", False)
    with pytest.raises(TimeoutError, match=r"is still queued after 0.05 s"):
        result.get(timeout=0.05)


def test_a_dead_job_raises_its_error_unless_told_not_to():
    def dead(_: object) -> None:
        raise ValueError("no luck")

    SCRIPT.append(dead)
    result = scripted.delay()
    assert result.state == "RETRY"
    for _ in range(2):
        change(result.id, state=State.QUEUED)
        run_job(result.id, Runner(worker="w"))

    assert (result.state, result.failed()) == ("FAILURE", True)
    with pytest.raises(JobFailed, match=f"job {result.id} is dead: ValueError: no luck"):
        result.get()
    assert result.get(propagate=False) is None


def test_a_revoked_job_is_cancelled():
    result = deferred.delay()

    result.revoke(terminate=True)

    assert (result.state, result.ready()) == ("REVOKED", True)
    with pytest.raises(JobFailed, match="cancelled: by operator"):
        result.get()


def test_a_result_of_a_job_that_is_gone_says_so():
    receipt = deferred.delay().receipt
    receipt.job_id = "nobody"
    result = JobResult(receipt)

    assert result.state == "PENDING"
    for ask in (result.get, result.ready, result.revoke):
        with pytest.raises(UnknownJobId, match="'nobody'"):
            ask()
