"""What the client makes of answers: values, streams, and problems as errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from celadon import State, errors
from celadon.client import ApiError
from celadon.client import errors as refusals
from celadon.client.flow import Answer
from celadon.client.stream import MAX_LINE, Parser
from celadon.client.values import Kind, Receipt, job_of, listed, results_of, told, value_of
from celadon.jobs import AnswerView, AttemptView, DeliveryView, JobSummary, JobView, RequestView, StepView
from celadon.limits import Kind as KindOfGate
from celadon.states import Outcome
from web import problems

MOMENT = datetime(2026, 11, 26, 12, 30, 0, 123_000, tzinfo=UTC)
ATTEMPT = AttemptView(
    number=1,
    epoch=1,
    worker="w",
    engine="worker",
    started_at=MOMENT,
    ended_at=MOMENT,
    outcome=Outcome.FAILED,
    error="no",
)
STEP = StepView(
    name="mail",
    state="done",
    error=None,
    tries=1,
    started_at=MOMENT,
    last_attempt_at=MOMENT,
    finished_at=None,
    result=[1],
)
DELIVERY = DeliveryView(
    at=MOMENT,
    verdict="answered 500",
    in_doubt=False,
    seconds=0.5,
    request=RequestView(method="POST", url="http://mail/jobs", headers={"Accept": "*/*"}, body=None),
    answer=AnswerView(status=500, headers={}, body="oh no"),
)
JOB = JobView(
    id="1",
    name="reports.build",
    queue="default",
    state=State.SCHEDULED,
    priority=0,
    tenant=None,
    attempt=1,
    max_attempts=5,
    crashes=0,
    replays=0,
    engine="worker",
    claimed_by=None,
    cancel_requested=False,
    created_at=MOMENT,
    run_at=MOMENT,
    expires_at=None,
    claimed_at=None,
    started_at=MOMENT,
    finished_at=None,
    result={"at": "2026-11-26T12:30:00Z"},
    error={"kind": "ValueError", "message": "no"},
    payload={},
    attempts=(ATTEMPT,),
    steps=(STEP,),
    delivery=DELIVERY,
)


def test_a_job_comes_over_as_it_was():
    assert job_of(json.loads(json.dumps(JOB.as_dict()))) == JOB


def test_a_payload_that_was_asked_for_comes_along():
    assert job_of({**JOB.as_dict(), "payload": {"year": 2026}}).payload == {"year": 2026}


def test_a_newer_server_may_say_more_and_use_other_words():
    job = job_of({**JOB.as_dict(), "mood": "good", "state": "pondering"})

    assert (job.state, job.finished) == ("pondering", False)


def test_a_receipt_is_told_with_its_address():
    receipt = value_of(Receipt, {"job_id": "1", "outcome": "queued", "href": "/api/jobs/1", "reason": None})

    assert (receipt.job_id, receipt.outcome, receipt.href) == ("1", "queued", "/api/jobs/1")


@pytest.mark.parametrize("text", [b"<html>", b"[]", b"7", b""])
def test_an_answer_of_another_server_is_told_as_such(text):
    with pytest.raises(ApiError, match="is the base URL that of Celadon"):
        told(text)


@pytest.mark.parametrize("facts", [{}, {"id": "1"}, {**JOB.as_dict(), "created_at": "yesterday"}])
def test_an_answer_that_is_no_job_is_told_as_such(facts):
    with pytest.raises(ApiError, match="The answer is no JobView: .*; is the base URL that of Celadon"):
        job_of(facts)


@pytest.mark.parametrize("each", [{}, {"status": 422}, "nonsense", {"receipt": []}, {"status": 422, "error": None}])
def test_a_result_that_is_none_is_told_as_such(each):
    with pytest.raises(ApiError, match="is the base URL that of Celadon"):
        results_of({"results": [each]}, 1)


def test_results_of_another_number_of_jobs_are_told_as_such():
    with pytest.raises(ApiError, match="of 0 jobs instead of 2"):
        results_of({"results": []}, 2)


@pytest.mark.parametrize("told", ["text", 7, ["text"], [{"detail": "x"}], {"field": "x"}])
def test_fields_that_another_server_tells_do_no_harm(told):
    assert str(refusals.of_problem(422, {"errors": told})).startswith("422: Unprocessable")


def test_a_list_that_is_missing_is_told_as_such():
    with pytest.raises(ApiError, match="The answer is without its jobs: .*; is the base URL"):
        listed({"next": None}, "jobs")
    with pytest.raises(ApiError, match="The answer is no JobSummary"):
        value_of(JobSummary, "nonsense")


# --- problems as errors


OF_THE_PLATFORM = {kind: answer for kind, answer in problems.KNOWN.items() if kind.__module__ == errors.__name__}


@pytest.mark.parametrize("kind", OF_THE_PLATFORM, ids=lambda kind: kind.__name__)
def test_every_error_that_the_api_tells_of_the_platform_is_that_error_here(kind):
    status, slug = OF_THE_PLATFORM[kind]
    error = refusals.of_problem(status, {"type": f"urn:celadon:problem:{slug}", "detail": "so it is"})

    assert (error.status, str(error)) == (status, f"{status}: so it is")
    assert isinstance(error, kind)


def test_each_field_to_mend_is_told():
    fields = [{"field": "payload.year", "message": "Field required"}]
    error = refusals.of_problem(
        422, {"type": "urn:celadon:problem:invalid-request", "detail": "It does not fit.", "errors": fields}
    )

    assert str(error) == "422: It does not fit.; payload.year: Field required"
    assert isinstance(error, errors.InvalidPayload)
    assert error.problems == ["payload.year: Field required"]


def test_what_the_detail_says_already_is_not_said_twice():
    told = {"detail": "delay=-1: from 0 s", "errors": [{"field": "delay_s", "message": "delay=-1: from 0 s"}]}

    error = refusals.of_problem(422, {"type": "urn:celadon:problem:invalid-request", **told})

    assert str(error) == "422: delay=-1: from 0 s"
    assert error.problems == ["delay_s: delay=-1: from 0 s"]


def test_the_job_that_a_problem_names_can_be_asked_for():
    error = refusals.of_problem(503, {"type": "urn:celadon:problem:ledger-unavailable", "job_id": "0199"})

    assert isinstance(error, errors.LedgerUnavailable)
    assert error.job_id == "0199"


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, refusals.NotAuthenticated, "401: Unauthorized"),
        (404, ApiError, "404: Not Found"),
        (429, refusals.TooManyRequests, "429: Too Many Requests"),
        (502, refusals.Unavailable, "502: Bad Gateway"),
        (418, ApiError, "418: I'm a Teapot"),
        (599, ApiError, "599: an unknown status"),
    ],
)
def test_an_answer_that_is_no_problem_is_told_by_its_status(status, kind, told):
    error = refusals.of(Answer(status, {}, b"<html>gateway</html>"))

    assert (type(error), str(error)) == (kind, told)


# --- streams


def events(*pieces: bytes) -> list[tuple[str, str]]:
    parser = Parser()
    return [(event.name, event.data) for piece in pieces for event in parser.feed(piece)]


def test_events_are_read_whatever_pieces_they_come_in():
    stream = (
        b"retry: 250\n\n: still here\n\nid: 1\nevent: change\ndata: one\ndata: more\n\nevent: end\r\ndata:two\r\n\r\n"
    )
    whole = [("change", "one\nmore"), ("end", "two")]

    assert events(stream) == whole
    assert events(*(stream[at : at + 1] for at in range(len(stream)))) == whole


def test_the_last_id_and_the_wish_when_to_come_back_are_kept():
    parser = Parser()
    parser.feed(b"retry: 250\nretry: soon\nid: 7\ndata: x\n\n")

    assert (parser.last_id, parser.retry_s) == ("7", 0.25)


def test_an_event_without_an_end_is_none_and_one_without_a_name_is_a_message():
    assert events(b"data: cut off\n") == []
    assert events(b"data: x\n\n") == [("message", "x")]


def test_a_stream_without_line_breaks_is_left():
    with pytest.raises(ApiError, match="is the base URL that of Celadon"):
        Parser().feed(b"x" * (MAX_LINE + 1))


def test_what_can_be_paused_is_named_as_the_platform_names_it():
    assert Kind == KindOfGate
