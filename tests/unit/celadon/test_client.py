"""Both clients against a real server that misbehaves as told."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from celadon import State, errors
from celadon.client import (
    ApiError,
    AsyncCeladonClient,
    CeladonClient,
    InvalidRequest,
    KeyConflict,
    NotAuthorized,
    TooManyRequests,
    Unavailable,
    UnknownJob,
    UnknownJobId,
    Unreachable,
    calls,
    exchange,
)
from tests.servers.process import free_port
from tests.unit.celadon.scripted import CUT, Reply, Scripted, problem
from tests.unit.celadon.test_client_values import JOB
from tests.unit.celadon.test_init_package import loaded_by

KEY = "cel_0123_secret"
Call = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted().serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(calls, "LOOK_AGAIN_S", 0.02)


@pytest.fixture(params=["blocking", "awaiting"])
def call(request: pytest.FixtureRequest, server: Scripted) -> Call:
    """`call(method, …)` makes a client and calls its method; what can be iterated over comes as a list."""

    def blocking(method: str, args: Any, options: Any, limits: Any) -> Any:
        # Without the authorities that it would load for https, a client is there at once.
        with httpx.Client(verify=False) as http:
            made = getattr(CeladonClient(server.url, KEY, http=http, **limits), method)(*args, **options)
            return list(made) if inspect.isgenerator(made) else made

    async def awaiting(method: str, args: Any, options: Any, limits: Any) -> Any:
        async with httpx.AsyncClient(verify=False) as http:
            made = getattr(AsyncCeladonClient(server.url, KEY, http=http, **limits), method)(*args, **options)
            return [each async for each in made] if inspect.isasyncgen(made) else await made

    def call(method: str, *args: Any, timeout_s: float = 5, give_up_after_s: float = 5, **options: Any) -> Any:
        limits = {"timeout_s": timeout_s, "give_up_after_s": give_up_after_s}
        if request.param == "blocking":
            return blocking(method, args, options, limits)
        return asyncio.run(awaiting(method, args, options, limits))

    return call


def receipt(job_id: str = "1", outcome: str = "queued") -> dict[str, Any]:
    return {"job_id": job_id, "outcome": outcome, "by": None, "after_ms": None, "reason": None, "href": "/api/jobs/1"}


def job(**changes: Any) -> dict[str, Any]:
    return {**JOB.as_dict(), **changes}


ACCEPTED = Reply(status=202, json=receipt())


# --- submitting


def test_a_submission_says_all_that_was_given_and_gives_the_receipt(server, call):
    server.replies = [ACCEPTED]

    made = call(
        "submit",
        "reports.build",
        {"year": 2026},
        key="k",
        delay=timedelta(minutes=1),
        expires_in=90,
        queue="data_sync",
        priority=3,
        tenant="acme",
        confirm=False,
    )

    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/jobs")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "name": "reports.build",
        "payload": {"year": 2026},
        "key": "k",
        "delay_s": 60.0,
        "expires_in_s": 90.0,
        "queue": "data_sync",
        "priority": 3,
        "tenant": "acme",
        "confirm": False,
    }
    assert (made.job_id, made.outcome, made.href) == ("1", "queued", "/api/jobs/1")


def test_a_time_is_sent_with_its_zone_and_refused_without(server, call):
    server.replies = [ACCEPTED]
    call("submit", "a", {}, run_at=datetime(2027, 1, 1, 6, tzinfo=UTC))
    assert server.asked[0].body["run_at"] == "2027-01-01T06:00:00+00:00"

    with pytest.raises(errors.InvalidOption, match="has no time zone"):
        call("submit", "a", {}, run_at=datetime(2027, 1, 1, 6))  # noqa: DTZ001
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(CUT, id="cut after the request was taken"),
        pytest.param(Reply(json=receipt(), after_s=0.5), id="an answer that comes too late"),
        pytest.param(problem(503, "ledger-unavailable", retry_after="0"), id="unavailable"),
        pytest.param(Reply(status=502, text="<html>gateway</html>"), id="a gateway's own error"),
        pytest.param(problem(429, retry_after="0"), id="too many"),
    ],
)
def test_a_submission_is_tried_again_under_the_same_key(server, call, trouble):
    server.replies = [trouble, trouble, ACCEPTED]

    made = call("submit", "reports.build", {}, timeout_s=0.2)

    keys = [asked.body["key"] for asked in server.asked]
    assert (made.job_id, len(keys), len(set(keys))) == ("1", 3, 1)
    assert keys[0].startswith("client:")


def test_two_submissions_have_two_keys(server, call):
    server.replies = [ACCEPTED, ACCEPTED]
    call("submit", "a", {})
    call("submit", "a", {})

    assert len({asked.body["key"] for asked in server.asked}) == 2


def test_the_time_the_server_asks_for_is_waited(server):
    server.replies = [problem(503, "ledger-unavailable", retry_after="1"), ACCEPTED]
    began = time.monotonic()

    with CeladonClient(server.url, KEY) as client:
        client.submit("a", {})

    assert 1 <= time.monotonic() - began < 3


def test_a_call_that_gave_up_tells_the_key_to_repeat_it_with(server, call):
    server.replies = [CUT] * 20

    with pytest.raises(Unreachable) as gave_up:
        call("submit", "a", {}, give_up_after_s=0.6)

    assert gave_up.value.in_doubt
    assert {asked.body["key"] for asked in server.asked} == {gave_up.value.idempotency_key}
    assert len(server.asked) > 1


def test_nobody_listening_is_no_doubt(call, server, monkeypatch):
    monkeypatch.setattr(server, "url", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()

    with pytest.raises(Unreachable, match="ConnectError") as gave_up:
        call("submit", "a", {}, give_up_after_s=0.5)

    assert not gave_up.value.in_doubt
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            problem(422, "invalid-request", errors=[{"field": "payload.year", "message": "Field required"}]),
            InvalidRequest,
        ),
        (problem(422, "unknown-job"), UnknownJob),
        (problem(422, "request-key-reused", job_id="0"), KeyConflict),
        (problem(403, "no-scope"), NotAuthorized),
    ],
)
def test_a_refusal_is_raised_at_once(server, call, reply, kind):
    server.replies = [reply]

    with pytest.raises(kind) as refused:
        call("submit", "a", {}, key="mine")

    assert refused.value.problem == reply.json
    assert refused.value.idempotency_key == "mine"


# --- many


def test_many_jobs_go_together_each_under_a_key_and_come_to_receipts_or_errors(server, call):
    unknown = problem(422, "unknown-job").json
    results = [
        {"index": 0, "status": 202, "receipt": receipt("1")},
        {"index": 1, "status": 422, "error": unknown},
        {"index": 2, "status": 202, "receipt": receipt("3", "scheduled")},
    ]
    server.replies = [CUT, Reply(json={"results": results, "accepted": 2, "refused": 1})]
    jobs = [
        {"name": "a", "payload": {}, "key": "own"},
        {"name": "b", "payload": {}},
        {"name": "c", "payload": {}, "delay": 5},
    ]

    first, second, third = call("submit_many", jobs)

    assert (first.job_id, third.outcome) == ("1", "scheduled")
    assert isinstance(second, UnknownJob)
    before, after = (asked.body["jobs"] for asked in server.asked)
    assert before == after
    assert [one["key"].split(":")[-1] for one in after] == ["own", "1", "2"]
    assert after[2]["delay_s"] == 5


def test_more_than_a_thousand_go_in_parts_and_a_repeated_call_names_the_same_keys(server, call):
    def answers(*counts: int) -> list[Reply]:
        return [Reply(json={"results": [{"status": 202, "receipt": receipt()}] * count}) for count in counts]

    jobs = [{"name": "a", "payload": {"number": number}} for number in range(1201)]
    server.replies = [*answers(1000), problem(403, "no-scope")]
    with pytest.raises(NotAuthorized) as broken:
        call("submit_many", iter(jobs))
    server.replies = answers(1000, 201)

    assert len(call("submit_many", iter(jobs), key=broken.value.idempotency_key)) == 1201

    first, second, *again = ([one["key"] for one in asked.body["jobs"]] for asked in server.asked)
    assert [first, second] == again
    assert len({*first, *second}) == 1201


def test_no_jobs_are_no_request(server, call):
    assert (call("submit_many", []), server.asked) == ([], [])


# --- asking


def test_a_job_is_told_as_in_the_process_itself(server, call):
    server.replies = [Reply(json=job()), Reply(json=job(payload={"year": 2026}))]

    assert call("job", "1") == JOB
    assert call("job", "1", payload=True).payload == {"year": 2026}
    assert [asked.query for asked in server.asked] == [{}, {"include": ["payload"]}]


def test_an_id_is_no_path(server, call):
    server.replies = [problem(404, "no-such-job")]

    with pytest.raises(UnknownJobId):
        call("job", "../orders?x=1")

    assert server.asked[0].path == "/api/jobs/..%2Forders%3Fx%3D1"


def test_waiting_goes_on_until_the_job_has_finished(server, call):
    server.replies = [
        Reply(json=job(state="queued"), after_s=0.1),
        problem(503, "ledger-unavailable", retry_after="0"),
        Reply(json=job(state="succeeded")),
    ]

    assert call("wait", "1", 0.15 + 20).state is State.SUCCEEDED
    assert all(0 < float(asked.query["wait"][0]) <= 25 for asked in server.asked)


def test_waiting_ends_with_its_time_and_asks_no_more_than_need_be(server, call, monkeypatch):
    monkeypatch.setattr(calls, "LOOK_AGAIN_S", 9)
    server.replies = [Reply(json=job(state="running")) for _ in range(9)]
    began = time.monotonic()

    assert call("wait", "1", 0.3).state is State.RUNNING

    assert 0.3 <= time.monotonic() - began < 2
    assert len(server.asked) == 2  # The server answered at once; the second time the time was over.


def test_a_list_is_read_page_after_page(server, call):
    def page(*ids: str, after: str | None = None) -> Reply:
        return Reply(json={"jobs": [job(id=job_id) for job_id in ids], "next": after})

    server.replies = [page("5", "4", after="c4"), CUT, page("3", after="c3"), page()]

    found = call(
        "jobs",
        state=["dead", "queued"],
        name="a",
        created_after=datetime(2026, 1, 1, tzinfo=UTC),
        tenant=None,
        page_size=2,
    )

    assert [each.id for each in found] == ["5", "4", "3"]
    first, *_, last = server.asked
    assert first.query == {
        "state": ["dead", "queued"],
        "name": ["a"],
        "created_after": ["2026-01-01T00:00:00+00:00"],
        "limit": ["2"],
    }
    assert last.query == {**first.query, "after": ["c3"]}


def test_pages_are_asked_for_as_they_are_needed(server):
    server.replies = [Reply(json={"jobs": [job(id="2"), job(id="1")], "next": "more"})]
    with CeladonClient(server.url, KEY) as client:
        assert next(client.jobs()).id == "2"

    assert len(server.asked) == 1


# --- events


def event(mark: str, name: str, **changes: Any) -> str:
    return f"id: {mark}\nevent: {name}\ndata: {json.dumps(job(**changes))}\n\n"


def test_events_go_on_over_a_lost_connection_and_say_what_was_seen(server, call):
    server.replies = [
        Reply(pieces=("retry: 10\n\n", event("a", "change", state="queued"), event("b", "change")[:40])),
        CUT,
        problem(503, "too-many-streams", retry_after="0"),
        Reply(pieces=(": still here\n\n", event("c", "change", state="running"), event("d", "end", state="succeeded"))),
    ]

    assert [each.state for each in call("events", "1")] == ["queued", "running", "succeeded"]
    assert [asked.headers.get("Last-Event-ID") for asked in server.asked] == [None, "a", "a", "a"]
    assert {asked.path for asked in server.asked} == {"/api/jobs/1/events"}


def test_events_of_an_unknown_job_are_an_error(server, call):
    server.replies = [problem(404, "no-such-job")]

    with pytest.raises(UnknownJobId):
        call("events", "1")


def test_a_stream_may_be_left_early(server):
    server.replies = [Reply(pieces=(event("a", "change", state="queued"), event("b", "end")))] * 2

    with CeladonClient(server.url, KEY) as client:
        for each in client.events("1"):
            assert each.state == "queued"
            break

    async def leave() -> None:
        async with AsyncCeladonClient(server.url, KEY) as client, aclosing(client.events("1")) as events:
            async for each in events:
                assert each.state == "queued"
                break

    asyncio.run(leave())


# --- operating


@pytest.mark.parametrize("action", ["cancel", "replay", "run_now"])
def test_an_operation_is_posted_and_tells_the_job(server, call, action):
    server.replies = [problem(503, "ledger-unavailable", retry_after="0"), Reply(json=job(state="waiting"))]

    assert call(action, "1").state is State.WAITING
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", f"/api/jobs/1/{action.replace('_', '-')}")
    ] * 2


def test_a_job_is_made_due_at_a_time_or_after_one(server, call):
    server.replies = [Reply(json=job()), Reply(json=job())]
    call("reschedule", "1", run_at=datetime(2027, 1, 1, tzinfo=UTC))
    call("reschedule", "1", delay=timedelta(hours=1))

    assert [asked.body for asked in server.asked] == [{"run_at": "2027-01-01T00:00:00+00:00"}, {"delay_s": 3600.0}]
    for both_or_none in ({}, {"run_at": datetime.now(UTC), "delay": 1}):
        with pytest.raises(errors.InvalidOption, match="either run_at or delay"):
            call("reschedule", "1", **both_or_none)


def test_a_refusal_after_a_lost_answer_says_that_it_may_have_been_done(server, call):
    server.replies = [CUT, problem(409, "not-in-this-state")]

    with pytest.raises(errors.NotAllowed) as refused:
        call("replay", "1")

    assert isinstance(refused.value, ApiError)
    assert refused.value.in_doubt


# --- the client itself


@pytest.mark.parametrize("url", ["jobs.example.com", "ftp://jobs.example.com", "http://", "https://h/?x=1"])
def test_an_address_that_can_not_be_meant_is_refused(url):
    for kind in (CeladonClient, AsyncCeladonClient):
        with pytest.raises(errors.InvalidOption, match="base_url="):
            kind(url, KEY)


@pytest.mark.parametrize("key", ["", "a\nb", "schlüssel"])
def test_a_key_that_can_not_be_one_is_refused_without_being_told(key):
    with pytest.raises(errors.InvalidOption, match="key: give the text that `celadon keys create` printed") as refused:
        CeladonClient("http://h", key)
    assert not key or key not in str(refused.value)


def test_the_key_does_not_follow_to_another_server(server, call):
    server.replies = [Reply(status=307, headers={"Location": "http://elsewhere.example.org/"})]

    with pytest.raises(ApiError, match="307"):
        call("job", "1")

    assert len(server.asked) == 1


def test_a_page_where_the_api_should_be_is_told_as_such(server, call):
    server.replies = [Reply(text="<html>Welcome</html>")]

    with pytest.raises(ApiError, match="is the base URL that of Celadon"):
        call("job", "1")


def test_an_http_client_of_ones_own_is_used_and_left_open(server):
    server.replies = [Reply(json=job()), problem(429, retry_after="100")]
    own = httpx.Client(headers={"X-Team": "reports"})
    with CeladonClient(server.url, KEY, http=own) as client:
        client.job("1")
        with pytest.raises(TooManyRequests):
            client.job("1")

    assert server.asked[0].headers["X-Team"] == "reports"
    assert not own.is_closed
    own.close()


def test_an_outage_is_the_same_error_as_in_the_process_itself(server, call):
    server.replies = [problem(503, "ledger-unavailable", retry_after="60", job_id="0199")]

    with pytest.raises(errors.LedgerUnavailable) as away:
        call("submit", "a", {})

    assert isinstance(away.value, Unavailable)
    assert away.value.job_id == "0199"


def test_both_clients_can_do_the_same():
    def public(kind: type) -> dict[str, list[str]]:
        methods = {name: value for name, value in vars(kind).items() if not name.startswith("_") or name == "__init__"}
        return {name.removeprefix("a"): list(inspect.signature(value).parameters) for name, value in methods.items()}

    assert public(CeladonClient) == {
        {"close": "close"}.get(name, name): parameters for name, parameters in public(AsyncCeladonClient).items()
    }


def test_it_loads_nothing_of_the_platform_that_a_client_does_not_need():
    heavy = {"sqlalchemy", "alembic", "celery", "kombu", "redis", "pydantic", "structlog", "celeryconfig"}

    assert loaded_by("import celadon.client") & heavy == set()
