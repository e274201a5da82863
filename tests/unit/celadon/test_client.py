"""Both clients against a real server that misbehaves as told."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
    bodies,
    calls,
    exchange,
)
from tests.eventually import eventually
from tests.servers.process import free_port
from tests.unit.celadon.scripted import CUT, Reply, Scripted, problem
from tests.unit.celadon.test_client_values import JOB
from tests.unit.celadon.test_init_package import loaded_by

KEY = "cel_0123_secret"
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "call-it-over-http.md"
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


@pytest.mark.parametrize("payload", [{"when": datetime.now(UTC)}, {"share": float("nan")}, {"some": {1, 2}}])
def test_what_is_no_json_is_refused_before_anything_is_sent(server, call, payload):
    with pytest.raises(InvalidRequest, match="it can't be sent as JSON: ") as refused:
        call("submit", "a", payload)

    assert not refused.value.in_doubt
    assert server.asked == []


def test_an_empty_key_is_not_taken_for_none(server, call):
    server.replies = [ACCEPTED, Reply(json={"results": [{"status": 202, "receipt": receipt()}]})]

    call("submit", "a", {}, key="")
    call("submit_many", [{"name": "a", "payload": {}, "key": ""}])

    assert [server.asked[0].body["key"], server.asked[1].body["jobs"][0]["key"]] == ["", ""]


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


def run_the_guides_loop(client: CeladonClient) -> Any:
    """The guide's `submit_at_last`, with the pauses left out; the job's id."""
    [block] = re.findall(r"^```python\n([^`]*?def submit_at_last.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert block.count("time.sleep(5)") == 1
    names: dict[str, Any] = {"client": client}
    exec(block.replace("time.sleep(5)", "time.sleep(0)"), names)
    return names["job_id"]


def test_the_guides_loop_keeps_its_key_until_the_doubt_is_over(server):
    server.replies = [CUT, problem(429, retry_after="100"), problem(500), ACCEPTED]

    with CeladonClient(server.url, KEY, give_up_after_s=0.01) as client:
        assert run_the_guides_loop(client) == "1"

    assert len({asked.body["key"] for asked in server.asked}) == 1
    assert len(server.asked) == 4


def test_the_guides_loop_ends_with_what_is_final(server):
    server.replies = [CUT, problem(422, "invalid-request")]

    with CeladonClient(server.url, KEY, give_up_after_s=0.01) as client, pytest.raises(InvalidRequest):
        run_the_guides_loop(client)


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


@pytest.mark.parametrize(
    ("slug", "facts"),
    [("unknown-job", {"name": "a"}), ("unknown-queue", {"queue": "q"}), ("request-key-reused", {"key": "mine"})],
)
def test_an_error_has_the_facts_of_the_platforms_own(server, call, slug, facts):
    server.replies = [problem(422, slug), Reply(json={"results": [{"status": 422, "error": problem(422, slug).json}]})]

    with pytest.raises(ApiError) as refused:
        call("submit", "a", {}, key="mine", queue="q")
    [result] = call("submit_many", [{"name": "a", "payload": {}, "key": "mine", "queue": "q"}])

    for error in (refused.value, result):
        assert facts.items() <= vars(error).items()


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


def good(count: int) -> Reply:
    return Reply(json={"results": [{"status": 202, "receipt": receipt()}] * count})


def test_what_can_not_be_sent_is_refused_in_its_place_and_the_others_are_sent(server, call):
    server.replies = [good(1000), good(498)]
    jobs: list[dict[str, Any]] = [{"name": "a", "payload": {"number": number}} for number in range(1500)]
    jobs[1200]["run_at"] = datetime(2027, 1, 1)  # noqa: DTZ001
    jobs[1300]["payload"] = {"when": datetime.now(UTC)}

    results = call("submit_many", jobs)

    assert [number for number, result in enumerate(results) if isinstance(result, InvalidRequest)] == [1200, 1300]
    assert len(results) == 1500
    sent = [one["payload"]["number"] for asked in server.asked for one in asked.body["jobs"]]
    assert sent == [number for number in range(1500) if number not in (1200, 1300)]


def test_an_error_after_a_part_was_accepted_is_in_doubt(server, call):
    jobs = [{"name": "a", "payload": {}}] * 1001
    server.replies = [problem(413, "too-large"), good(1000), problem(413, "too-large")]

    with pytest.raises(errors.PayloadTooLarge) as first:
        call("submit_many", jobs)
    with pytest.raises(errors.PayloadTooLarge) as second:
        call("submit_many", jobs)

    assert (first.value.in_doubt, second.value.in_doubt) == (False, True)


def test_large_jobs_go_in_smaller_parts(server, call, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_BYTES", 1000)
    server.replies = [good(2), good(1), good(1)]

    assert (
        len(call("submit_many", [{"name": "a", "payload": {"text": "x" * size}} for size in (300, 300, 2000, 9)])) == 4
    )
    assert [len(asked.body["jobs"]) for asked in server.asked] == [2, 1, 1]


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


def test_while_it_waits_the_server_may_be_silent_for_so_long(server, call):
    server.replies = [Reply(json=job(state="succeeded"), after_s=0.5)]

    assert call("wait", "1", 5, timeout_s=0.2).finished
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("method", "given", "options"), [("wait", -1, {}), ("reschedule", None, {"delay": -1}), ("reschedule", None, {})]
)
def test_a_time_that_can_not_be_meant_is_refused_as_the_api_would(server, call, method, given, options):
    with pytest.raises(InvalidRequest):
        call(method, "1", *([] if given is None else [given]), **options)

    assert server.asked == []


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
    assert {(asked.path, asked.headers["Accept"]) for asked in server.asked} == {
        ("/api/jobs/1/events", "text/event-stream")
    }


def test_a_stream_may_be_silent_for_longer_than_an_answer(server, call):
    server.replies = [Reply(pieces=(event("a", "end", state="succeeded"),), after_s=0.4)]

    assert len(call("events", "1", timeout_s=0.2)) == 1
    assert len(server.asked) == 1


def test_a_stream_that_ends_is_not_asked_for_at_once(server, call, monkeypatch):
    monkeypatch.setattr(calls, "SOONEST_S", 0.3)
    server.replies = [Reply(pieces=("retry: 0\n\n",)), Reply(pieces=(event("a", "end"),))]
    began = time.monotonic()

    call("events", "1")

    assert time.monotonic() - began >= 0.3


def test_a_page_where_the_stream_should_be_is_told_as_such(server, call):
    server.replies = [Reply(text="<html>Log in</html>", headers={"Content-Type": "text/html"})]

    with pytest.raises(ApiError, match="no stream of events; is the base URL that of Celadon"):
        call("events", "1")


def test_events_of_an_unknown_job_are_an_error(server, call):
    server.replies = [problem(404, "no-such-job")]

    with pytest.raises(UnknownJobId):
        call("events", "1")


def test_a_stream_that_is_left_early_is_ended(server):
    server.replies = [Reply(pieces=(event("a", "change", state="queued"),), stays=True)] * 2

    with CeladonClient(server.url, KEY) as client:
        for each in client.events("1"):
            assert each.state == "queued"
            break
        eventually("the connection is over", lambda: server.over == 1)

    async def leave() -> None:
        async with AsyncCeladonClient(server.url, KEY) as client:
            async with aclosing(client.events("1")) as events:
                async for each in events:
                    assert each.state == "queued"
                    break
            eventually("the connection is over", lambda: server.over == 2)

    asyncio.run(leave())


# --- operating


@pytest.mark.parametrize("action", ["cancel", "replay", "run_now"])
def test_an_operation_is_posted_and_tells_the_job(server, call, action):
    server.replies = [problem(429, retry_after="0"), Reply(json=job(state="waiting"))]

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


@pytest.mark.parametrize("action", ["replay", "run_now", "reschedule"])
def test_what_would_run_the_job_again_is_not_repeated_after_a_lost_answer(server, call, action):
    server.replies = [CUT, Reply(json=job())]

    with pytest.raises(Unreachable) as lost:
        call(action, "1", **({"delay": 1} if action == "reschedule" else {}))

    assert lost.value.in_doubt
    assert len(server.asked) == 1


def test_a_cancellation_is(server, call):
    server.replies = [CUT, Reply(json=job())]

    call("cancel", "1")

    assert len(server.asked) == 2


# --- the client itself


@pytest.mark.parametrize("url", ["jobs.example.com", "ftp://jobs.example.com", "http://", "https://h/?x=1"])
def test_an_address_that_can_not_be_meant_is_refused(url):
    for kind in (CeladonClient, AsyncCeladonClient):
        with pytest.raises(errors.InvalidOption, match="base_url="):
            kind(url, KEY)


def test_a_user_in_the_address_is_refused_without_being_told():
    with pytest.raises(errors.InvalidOption, match="leave out USER:PASSWORD@") as refused:
        CeladonClient("https://ada:secret@h", KEY)
    assert "secret" not in str(refused.value)


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


def test_its_own_connections_are_closed_with_it(server):
    server.replies = [Reply(json=job())] * 2

    client = CeladonClient(server.url, KEY)
    client.job("1")
    client.close()
    eventually("the connection is over", lambda: server.over == 1)

    async def ask() -> None:
        another = AsyncCeladonClient(server.url, KEY)
        await another.job("1")
        await another.aclose()
        eventually("the connection is over", lambda: server.over == 2)

    asyncio.run(ask())


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
