"""A job on its way to a real service that misbehaves: what the service gets, and what becomes of the job."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from celadon import cancel, drain, find, replay, tracing
from celadon.delegation import asking, client, file, lookups, signing
from celadon.delegation.client import KEEP_ALIVE_S
from celadon.delegation.keys import keys_of
from celadon.jobs import DeliveryView, JobView
from celadon.ledger import deliveries
from celadon.ledger.db import clock, reading
from celadon.ledger.recovery import reap
from celadon.ledger.tables import jobs
from celadon.run import Ran, Runner, run_job
from celadon.settings import overridden
from celadon.states import Outcome, State
from tests.contract.given import WORKER, a_claim, a_job, change, let_its_lease_run_out, row
from tests.eventually import eventually
from tests.servers import FeatureServer
from tests.servers.feature import (
    Behaviour,
    Peer,
    Received,
    answer,
    cut,
    cut_in_the_body,
    fail,
    hang,
    hang_in_the_body,
    hang_in_the_head,
    state,
    succeed,
    then_close,
)
from tests.servers.process import free_port
from tests.unit.celadon.delegation.conftest import Register

pytestmark = pytest.mark.usefixtures("ledger")

DELIVER = "delegation.deliver"
SHORT = {"timeout": "200", "connect_timeout": "200"}
KEYS = "whsec_" + "A" * 32


def an_email(data: Any = "hello", **facts: Any) -> str:
    return a_job(DELIVER, queue="email", payload={"data": data}, max_attempts=3, **facts)


def run(job_id: str) -> Ran:
    if row(job_id).state != State.QUEUED:
        change(job_id, state=State.QUEUED)
    return run_job(job_id, Runner(worker=WORKER), queue="email")


def found(job_id: str) -> JobView:
    view = find(job_id)
    assert view is not None
    return view


def due_in_s(job_id: str) -> float:
    with reading() as connection:
        due = connection.execute(select(jobs.c.run_at).where(jobs.c.id == job_id)).scalar_one()
        return float((due - clock(connection)).total_seconds())


def kept(job_id: str) -> DeliveryView:
    delivery = found(job_id).delivery
    assert delivery is not None
    return delivery


def its_worker_dies(job_id: str) -> None:
    """In the midst of a run that nobody hears the end of."""
    a_claim(job_id)
    let_its_lease_run_out(job_id)
    reap()
    change(job_id, quarantine=False)


# --- what the service gets --------------------------------------------------------------------------------------------


def test_a_job_is_posted_and_its_result_kept(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [succeed({"sent": ["ada"]})]
    job_id = an_email({"to": "ada", "n": [1, None]})

    assert run(job_id).state == State.SUCCEEDED

    assert found(job_id).result == {"sent": ["ada"]}
    (post,) = feature.received
    assert (post.method, post.path, post.key) == ("POST", "/internal/process-job", job_id)
    assert post.headers["content-type"] == "application/json"
    assert post.told == {
        "jobId": job_id,
        "queueName": "email",
        "data": {"to": "ada", "n": [1, None]},
        "attemptsMade": 0,
    }
    assert found(job_id).delivery is None


def test_a_delivery_and_a_question_are_signed_with_every_key_and_carry_the_entrys_headers(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_KEYS", f"{KEYS} whsec_{'B' * 32}")
    register(feature.url, keys='{ env = "MAIL_KEYS" }', headers='{ X-Team = "mail" }', path='"/jobs"')
    feature.posts, feature.asks = [cut], [state("done", success=True)]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    post, ask = feature.received
    assert (post.path, ask.path) == ("/jobs", f"/jobs/{job_id}")
    for received in (post, ask):
        at_time = datetime.fromtimestamp(int(received.headers["webhook-timestamp"]), UTC)
        expected = signing.headers(job_id, received.body, keys_of(file.table().entries["email"].keys), at_time)
        assert {name: received.headers[name] for name in expected} == expected
        assert len(received.headers["webhook-signature"].split()) == 2
        assert (received.headers["x-team"], received.headers["idempotency-key"]) == ("mail", job_id)


def test_a_delivery_goes_on_with_the_trace_of_its_submitter(feature: FeatureServer, register: Register) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "other": "x"}
    register(feature.url)

    run(an_email(trace=trace))

    headers = feature.received[0].headers
    assert headers.get("traceparent") == (tracing.current() or trace)["traceparent"]
    assert "other" not in headers


def test_a_job_without_keys_that_can_be_read_is_not_delivered_unsigned(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url, keys='{ env = "NOT_SET_ANYWHERE" }')
    job_id = an_email()

    assert [run(job_id).state for _ in range(4)] == [State.SCHEDULED] * 4

    assert (found(job_id).attempt, feature.received) == (0, [])
    assert "NOT_SET_ANYWHERE is not set" in (found(job_id).attempts[-1].error or "")
    assert "NOT_SET_ANYWHERE is not set" in kept(job_id).verdict
    assert kept(job_id).request is None
    assert due_in_s(job_id) == pytest.approx(30, abs=3)


def test_the_next_try_says_how_many_failed_before_also_after_a_replay(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.otherwise["POST"] = fail()
    job_id = an_email()
    states = [run(job_id).state for _ in range(3)]
    replay(job_id)
    change(job_id, state=State.QUEUED)
    run(job_id)

    assert states == [State.SCHEDULED, State.SCHEDULED, State.DEAD]
    assert [post.told["attemptsMade"] for post in feature.of("POST")] == [0, 1, 2, 3]


# --- the rows of the table --------------------------------------------------------------------------------------------

SUCCESS = {"success": True}
BOMB = gzip.compress(b'{"success": true, "result": "' + b" " * 3_000_000 + b'"}')

ANSWERS: dict[str, tuple[Behaviour, State, str]] = {
    "it failed": (fail("no ink"), State.SCHEDULED, "mail: no ink"),
    "it failed for good": (fail("no such address", permanent=True), State.DEAD, "mail: no such address"),
    "no JSON": (answer(200, body=b"OK"), State.SCHEDULED, "without a JSON object that has `success`"),
    "other JSON": (answer(200, {"ok": True}), State.SCHEDULED, "without a JSON object that has `success`"),
    "no body": (answer(204, body=b""), State.SCHEDULED, "answered 204"),
    "a huge answer": (answer(200, body=b"x" * 2_000_000), State.DEAD, "answered 200 with more than 262144 bytes"),
    "a bomb": (answer(200, None, "Content-Encoding: gzip", body=BOMB), State.SCHEDULED, "without a JSON object"),
    "a redirect": (
        answer(302, SUCCESS, "Location: http://169.254.169.254/latest/meta-data/"),
        State.DEAD,
        "answered 302",
    ),
    "not modified": (answer(304, body=b""), State.DEAD, "answered 304"),
    **{str(status): (answer(status, SUCCESS), State.DEAD, f"answered {status}") for status in (400, 401, 403, 404)},
    **{str(status): (answer(status, SUCCESS), State.DEAD, f"answered {status}") for status in (405, 410, 413, 415)},
    "422 with an error": (answer(422, {"error": "no `to`"}), State.DEAD, "mail: answered 422: no `to`"),
    **{str(status): (answer(status, SUCCESS), State.SCHEDULED, f"answered {status}") for status in (408, 425, 429)},
    **{str(status): (answer(status, SUCCESS), State.SCHEDULED, f"answered {status}") for status in (500, 501, 502)},
    **{str(status): (answer(status, SUCCESS), State.SCHEDULED, f"answered {status}") for status in (503, 999, 101)},
    "a 500 that hangs": (hang_in_the_body(500), State.SCHEDULED, "answered 500"),
    "a 404 that is cut": (cut_in_the_body(404), State.DEAD, "answered 404"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_decides(what: str, feature: FeatureServer, register: Register) -> None:
    behaviour, expected, told = ANSWERS[what]
    register(feature.url, timeout="500")
    feature.posts = [behaviour]
    job_id = an_email()

    ran = run(job_id)

    error = found(job_id).error or {}
    assert (ran.state, found(job_id).attempt) == (expected, 1)
    assert told in (error["message"] or "")
    assert error["kind"] == ("DeliveryRefused" if expected == State.DEAD else "DeliveryFailed")
    assert told in kept(job_id).verdict
    assert len(feature.received) == 1
    if expected == State.SCHEDULED:
        assert due_in_s(job_id) == pytest.approx(99, abs=12)  # 90 s, and up to a fifth more.


def test_a_fixed_backoff_does_not_grow(feature: FeatureServer, register: Register) -> None:
    register(feature.url, backoff='"fixed"')
    feature.otherwise["POST"] = fail()
    job_id = an_email()

    for _ in range(2):
        assert run(job_id).state == State.SCHEDULED
        assert due_in_s(job_id) == pytest.approx(90, abs=3)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("how", ["seconds", "a date", "far away"])
def test_a_service_that_says_when_is_obeyed_and_no_try_burnt(
    status: int, how: str, feature: FeatureServer, register: Register
) -> None:
    told = {
        "seconds": "120",
        "a date": format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True),
        "far away": "999999",
    }[how]
    register(feature.url)
    feature.posts = [answer(status, {}, f"Retry-After: {told}")]
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert (found(job_id).attempt, found(job_id).attempts[0].outcome) == (0, Outcome.INTERRUPTED)
    assert due_in_s(job_id) == pytest.approx(3600 if how == "far away" else 120, abs=5)


def test_what_a_failed_delivery_sent_and_got_is_kept_without_secrets(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_KEYS", KEYS)
    register(feature.url, keys='{ env = "MAIL_KEYS" }', headers='{ X-Team = "mail" }')
    feature.posts = [answer(500, {"error": "oh no"}, "Set-Cookie: session=1", "X-Host: a")]
    job_id = an_email("hi")

    run(job_id)

    delivery = kept(job_id)
    assert delivery.request is not None
    assert delivery.answer is not None
    assert (delivery.request.method, delivery.request.url) == ("POST", f"{feature.url}/internal/process-job")
    assert '"data":"hi"' in (delivery.request.body or "")
    assert delivery.request.headers["webhook-signature"] == delivery.answer.headers["set-cookie"] == deliveries.MASKED
    assert (feature.received[0].headers["x-team"], delivery.request.headers["X-Team"]) == ("mail", deliveries.MASKED)
    assert (delivery.answer.status, delivery.answer.body) == (500, '{"error": "oh no"}')
    assert (delivery.request.headers["Idempotency-Key"], delivery.answer.headers["x-host"]) == (job_id, "a")


# --- no connection ----------------------------------------------------------------------------------------------------


def test_where_nobody_listens_the_try_has_failed(register: Register) -> None:
    register(f"http://127.0.0.1:{free_port()}")
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert (found(job_id).attempt, kept(job_id).answer) == (1, None)
    assert "no connection" in ((found(job_id).error or {})["message"] or "")


def test_a_job_that_had_a_run_and_whose_service_is_away_is_postponed(register: Register) -> None:
    register(f"http://127.0.0.1:{free_port()}")
    job_id = an_email()
    its_worker_dies(job_id)

    assert run(job_id).state == State.SCHEDULED

    assert found(job_id).attempt == 0
    assert due_in_s(job_id) == pytest.approx(5, abs=3)


def test_a_name_that_has_come_to_stand_for_a_metadata_address_is_not_delivered_to(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([("127.0.0.1",), ("169.254.169.254",)])
    monkeypatch.setattr(lookups, "shared", lookups.Lookups(lambda _: next(told)))
    register(f"http://mail.test:{feature.port}")
    first, second = an_email(), an_email()
    assert run(first).state == State.SUCCEEDED
    lookups.shared._hosts.clear()  # The answer has grown old.

    assert run(second).state == State.SCHEDULED

    assert "metadata of clouds" in ((found(second).error or {})["message"] or "")
    assert len(feature.received) == 1


def test_a_queue_that_the_file_no_longer_has_waits_for_it(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    job_id = a_job(DELIVER, queue="default", payload={"data": 1}, max_attempts=3)

    assert run_job(job_id, Runner(worker=WORKER)).state == State.SCHEDULED

    assert "has no queue 'default'" in (found(job_id).attempts[0].error or "")
    assert found(job_id).attempt == 0


# --- in doubt ---------------------------------------------------------------------------------------------------------

DOUBTS: dict[str, Behaviour] = {
    "no word": hang,
    "half a head": hang_in_the_head,
    "a slow body": hang_in_the_body(200),
    "cut before the head": cut,
    "cut in the body": cut_in_the_body(200),
    "another delivery at work": answer(409, {"success": False, "error": "at work"}),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_delivery_in_doubt_is_asked_after_and_what_was_done_is_taken(
    doubt: str, feature: FeatureServer, register: Register
) -> None:
    register(feature.url, timeout="400")
    feature.posts = [DOUBTS[doubt]]
    feature.asks = [state("done", success=True, result=7, attemptsMade=0)]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    assert found(job_id).result == 7
    assert [received.method for received in feature.received] == ["POST", "GET"]


@pytest.mark.parametrize("nobody", ["unknown", "interrupted"])
def test_what_nobody_did_is_posted_again_as_the_same_try(
    nobody: str, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.asks = [cut, cut, succeed(8)], [state(nobody), state(nobody)]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    posts = feature.of("POST")
    assert [(post.told["attemptsMade"], post.key) for post in posts] == [(0, job_id)] * 3
    assert found(job_id).attempt == 0


def test_a_delivery_that_is_cut_every_time_has_failed_after_three(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.otherwise["POST"] = cut
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert (len(feature.of("POST")), found(job_id).attempt) == (3, 1)
    assert "posted 3 times, and nobody knows of it" in ((found(job_id).error or {})["message"] or "")


def test_what_is_at_work_is_asked_after_again(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [cut]
    feature.asks = [state("running"), state("running"), state("done", success=False, error="no ink")]
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert (found(job_id).error or {})["message"] == "mail: no ink"
    first, second, third = (ask.at for ask in feature.of("GET"))
    assert second - first > 0.2
    assert third - second > 0.4


def test_what_stays_at_work_for_another_timeout_has_failed(feature: FeatureServer, register: Register) -> None:
    register(feature.url, **SHORT)
    feature.posts, feature.otherwise["GET"] = [hang], state("running")
    job_id = an_email()

    ran = run(job_id)

    assert (ran.state, found(job_id).attempt) == (State.SCHEDULED, 1)
    assert "still at work when the time was over" in (ran.error or "")


def test_a_run_that_has_waited_until_its_time_is_over_leaves_posting_to_the_next(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(feature.url, timeout="500", connect_timeout="500")
    monkeypatch.setattr(asking, "PAUSE_S", 0.8)  # Of the second that the run has.
    feature.asks = [state("running"), state("unknown")]
    job_id = an_email()
    its_worker_dies(job_id)

    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).attempt, feature.of("POST")) == (0, [])

    assert run(job_id).state == State.SUCCEEDED


UNASKABLE: dict[str, Behaviour] = {
    "no such route": answer(404, body=b"Not Found"),
    "a route of another kind": answer(405, body=b"POST only"),
    "nothing made for it": answer(501, body=b"Unsupported method"),
    "a page": answer(200, body=b"<html>"),
}


@pytest.mark.parametrize("how", UNASKABLE)
def test_a_service_that_can_not_be_asked_fails_the_try_in_doubt_and_is_posted_to_in_the_next(
    how: str, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.otherwise["GET"] = [cut, succeed()], UNASKABLE[how]
    job_id = an_email()

    ran = run(job_id)
    assert (ran.state, found(job_id).attempt) == (State.SCHEDULED, 1)
    assert "can't be asked after" in (ran.error or "")

    assert run(job_id).state == State.SUCCEEDED
    assert [post.told["attemptsMade"] for post in feature.of("POST")] == [0, 1]


@pytest.mark.parametrize("question", [hang, answer(500, {})], ids=["hangs", "is broken"])
def test_a_question_that_is_not_answered_fails_the_try(
    question: Behaviour, feature: FeatureServer, register: Register
) -> None:
    register(feature.url, **SHORT)
    feature.posts, feature.asks = [cut], [question]
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).attempt, len(feature.of("POST"))) == (1, 1)


def test_a_job_whose_worker_died_is_asked_after_before_anything_is_posted(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.asks = [state("running"), state("done", success=True, result="by the one before")]
    job_id = an_email()
    its_worker_dies(job_id)

    assert run(job_id).state == State.SUCCEEDED

    assert found(job_id).result == "by the one before"
    assert feature.of("POST") == []


def test_what_failed_for_good_while_it_was_in_doubt_is_dead_at_once(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [cut]
    feature.asks = [state("done", success=False, error="no such address", permanent=True, attemptsMade=0)]
    job_id = an_email()

    assert run(job_id).state == State.DEAD

    assert (found(job_id).error or {})["message"] == "mail: no such address"
    request = kept(job_id).request
    assert request is not None
    assert request.method == "POST"


@pytest.mark.parametrize("status", [429, 503])
def test_a_question_that_comes_too_early_is_asked_when_the_service_says_and_no_try_burnt(
    status: int, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts = [cut]
    feature.asks = [answer(status, {}, "Retry-After: 120"), state("done", success=True, result=7)]
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED
    assert (found(job_id).attempt, found(job_id).attempts[0].outcome) == (0, Outcome.INTERRUPTED)
    assert due_in_s(job_id) == pytest.approx(120, abs=5)

    assert run(job_id).state == State.SUCCEEDED
    assert [received.method for received in feature.received] == ["POST", "GET", "GET"]


def test_an_end_of_an_earlier_try_does_not_stand_for_this_one(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [fail("no ink"), succeed("printed")]
    feature.asks = [state("done", success=False, error="no ink", attemptsMade=0)]
    job_id = an_email()
    run(job_id)

    assert run(job_id).state == State.SUCCEEDED
    assert [post.told["attemptsMade"] for post in feature.of("POST")] == [0, 1]


def test_a_success_of_an_earlier_try_does(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [answer(504, body=b"the gateway was impatient")]
    feature.asks = [state("done", success=True, result="late", attemptsMade=0)]
    job_id = an_email()
    run(job_id)

    assert run(job_id).state == State.SUCCEEDED
    assert (found(job_id).result, len(feature.of("POST"))) == ("late", 1)


def test_a_kept_connection_that_is_closed_as_it_is_used_costs_no_try(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    first, second = an_email(), an_email()
    run(first)
    feature.posts = [cut]

    assert run(second).state == State.SUCCEEDED

    assert found(second).attempt == 0
    assert [post.key for post in feature.of("POST")] == [first, second, second]
    assert KEEP_ALIVE_S < 5  # Node's servers close after that.


def test_a_kept_connection_that_was_closed_before_costs_nothing(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts = [then_close(succeed())]
    run(an_email())
    eventually("the loop has heard of it", lambda: not _idle())

    assert run(an_email()).state == State.SUCCEEDED
    assert [received.method for received in feature.received] == ["POST", "POST"]


def _idle() -> bool:
    connector: Any = client._current and client._current.connector
    return any(kept.is_connected() for conns in list(connector._conns.values()) for kept, _ in conns)


@pytest.mark.parametrize("how", ["stops", "is cancelled", "is lost"])
def test_a_run_that_has_to_end_does_not_ask_for_ever(how: str, feature: FeatureServer, register: Register) -> None:
    register(feature.url, timeout="60000")
    feature.posts, feature.otherwise["GET"] = [cut], state("running")
    job_id = an_email()

    def once_asked(peer: Peer, received: Received) -> None:
        if how == "stops":
            drain.begin()
        elif how == "is cancelled":
            cancel(job_id)
        else:
            let_its_lease_run_out(job_id)
            change(job_id, epoch=9)
        state("running")(peer, received)

    feature.asks = [once_asked]
    ran: list[Ran] = []
    with overridden(renew_s=0.2):
        thread = threading.Thread(target=lambda: ran.append(run(job_id)))
        thread.start()
        thread.join(15)
    drain.reset()

    expected = {"stops": State.QUEUED, "is cancelled": State.CANCELLED, "is lost": None}[how]
    assert [one.state for one in ran] == [expected]


# --- what is told of it -----------------------------------------------------------------------------------------------


def test_deliveries_are_counted_and_timed_by_queue(feature: FeatureServer, register: Register) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"queue": "email", **labels}) or 0.0

    def told() -> list[float]:
        total: Callable[..., float] = lambda **labels: value("celadon_deliveries_total", **labels)  # noqa: E731
        return [
            total(what="post", outcome="succeeded"),
            total(what="post", outcome="asked"),
            total(what="ask", outcome="posted_again"),
            value("celadon_delivery_seconds_count"),
        ]

    register(feature.url)
    feature.posts = [cut, succeed()]
    before = told()

    run(an_email())

    assert [after - of for after, of in zip(told(), before, strict=True)] == [1, 1, 1, 3]
