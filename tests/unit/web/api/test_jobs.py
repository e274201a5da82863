"""Looking at jobs over HTTP: one of them, a list of them, and one as it changes."""

from __future__ import annotations

import json
import time
from threading import Event
from typing import Any

import pytest
from flask import Flask

import web.api.jobs
from celadon import JobView, cancel, find
from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope
from celadon.settings import settings
from tests.contract.given import a_dead_letter, a_job_that_is
from tests.unit.web.api.given import JOB, fields, later
from tests.unit.web.conftest import Client, Configure, wish, with_key
from web import streams


@pytest.fixture
def done(client: Client) -> str:
    """A job that has succeeded."""
    job_id: str = client.post("/api/orders", json=wish()).json["receipt"]["job_id"]
    return job_id


def test_a_job_tells_its_attempts_and_steps(program: Client, done: str) -> None:
    job = program.get(f"/api/jobs/{done}").json

    assert (job["id"], job["name"], job["state"], job["engine"]) == (done, JOB, "succeeded", "inline")
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"]
    assert [step["name"] for step in job["steps"]] == ["inventory", "email", "invoice"]
    assert "payload" not in job


def test_the_payload_is_told_to_those_who_ask_and_may(app: Flask, program: Client, done: str) -> None:
    assert set(program.get(f"/api/jobs/{done}?include=payload").json["payload"]) == {"order_id"}

    refused = with_key(app, Scope.READ).get(f"/api/jobs/{done}?include=payload")
    assert (refused.status_code, refused.json["scope"]) == (403, "operate")
    assert fields(program.get(f"/api/jobs/{done}?include=all")) == ["include"]


def test_a_dead_letter_is_found_by_its_queue_and_tells_what_was_sent_and_what_came_back(
    app: Flask, program: Client
) -> None:
    letter = a_dead_letter("email")
    a_dead_letter("analytics")
    reader = with_key(app, Scope.READ)

    (listed,) = reader.get("/api/jobs?state=dead&queue=email").json["jobs"]
    told = reader.get(f"/api/jobs/{listed['id']}").json["delivery"]
    in_full = program.get(f"/api/jobs/{letter}?include=payload").json["delivery"]

    assert told["verdict"] == "mail: no such address"
    assert told["answer"] == {"status": 422, "headers": {"server": "x"}, "body": '{"error": "no such address"}'}
    assert (told["request"]["url"], told["request"]["headers"]["webhook-signature"]) == ("http://mail/jobs", "•••")
    assert told["request"]["body"] is None  # It holds the payload.
    assert in_full == {**told, "request": {**told["request"], "body": '{"to":"ada"}'}}


def test_a_job_that_was_not_delivered_has_no_delivery(program: Client, done: str) -> None:
    assert program.get(f"/api/jobs/{done}").json["delivery"] is None


def test_waiting_for_a_finished_job_takes_no_time(program: Client, done: str) -> None:
    began = time.monotonic()

    assert program.get(f"/api/jobs/{done}?wait=30").json["state"] == "succeeded"
    assert time.monotonic() - began < 5


def test_waiting_ends_with_the_job_as_it_is(program: Client) -> None:
    began = time.monotonic()

    assert program.get(f"/api/jobs/{later()}?wait=0.3").json["state"] == "scheduled"
    assert 0.3 <= time.monotonic() - began < 5


def test_who_can_not_wait_because_too_many_do_is_answered_at_once(
    program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.holders(), "acquire", lambda blocking: False)
    began = time.monotonic()

    assert program.get(f"/api/jobs/{later()}?wait=30").json["state"] == "scheduled"
    assert time.monotonic() - began < 5


def test_nobody_waits_longer_than_a_proxy_would(program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.api.jobs, "MAX_WAIT_S", 0.1)
    began = time.monotonic()

    assert program.get(f"/api/jobs/{later()}?wait=60").json["state"] == "scheduled"
    assert time.monotonic() - began < 5


def test_who_has_waited_leaves_room_for_others(program: Client, done: str) -> None:
    for _ in range(settings().web_threads):
        program.get(f"/api/jobs/{done}?wait=1")

    assert program.get(f"/api/jobs/{done}/events").status_code == 200


@pytest.mark.parametrize("wait", ["", "soon", "-1", "nan", "inf"])
def test_a_wait_that_is_no_time_is_refused(program: Client, done: str, wait: str) -> None:
    answer = program.get(f"/api/jobs/{done}", query_string={"wait": wait})

    assert (answer.status_code, fields(answer)) == (422, ["wait"])


@pytest.mark.parametrize("job_id", ["0190-unknown", "%00", "x" * 500, "%ff", "%0a"])
@pytest.mark.parametrize("path", ["", "/events"])
def test_an_unknown_job_is_not_found(program: Client, job_id: str, path: str) -> None:
    answer = program.get(f"/api/jobs/{job_id}{path}")

    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


# --- lists


def test_a_list_has_the_newest_first_and_says_where_the_next_page_is(program: Client) -> None:
    made = [later() for _ in range(5)][::-1]

    first = program.get("/api/jobs?limit=2")
    second = program.get(first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"'))
    third = program.get("/api/jobs", query_string={"limit": 2, "after": second.json["next"]})

    pages = [[job["id"] for job in page.json["jobs"]] for page in (first, second, third)]
    assert pages == [made[:2], made[2:4], made[4:]]
    assert (third.json["next"], third.headers.get("Link")) == (None, None)


def test_a_list_is_narrowed_by_what_is_given(program: Client) -> None:
    mine, other = later(tenant="acme & söhne"), later()
    cancel(other)

    def ids(**query: Any) -> list[str]:
        answer = program.get("/api/jobs", query_string=query)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json["jobs"]]

    assert ids(tenant="acme & söhne") == [mine]
    assert ids(state="cancelled") == [other]
    assert ids(state=["cancelled", "scheduled"]) == [other, mine]
    assert ids(name=JOB, queue="default", created_after="2020-01-01T00:00:00z") == [other, mine]
    assert ids(created_before="2020-01-01T00:00:00.5+02:00") == []
    assert ids(error="0" * 16) == []


def test_the_link_to_the_next_page_keeps_what_was_asked(program: Client) -> None:
    made = [later(tenant="a&b=c") for _ in range(3)][::-1]
    later()

    page = program.get("/api/jobs", query_string={"tenant": "a&b=c", "state": ["scheduled", "dead"], "limit": 2})
    rest = program.get(page.headers["Link"].removeprefix("<").removesuffix('>; rel="next"'))

    assert [job["id"] for job in rest.json["jobs"]] == made[2:]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=ended", "state.0"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("name=", "name"),
        ("name=%00", "name"),
        (f"queue={'x' * 201}", "queue"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2020-01-01", "created_after"),
        ("created_after=1700000000", "created_after"),
        ("created_before=2020-02-31T00:00:00Z", "created_before"),
        ("after=soon", "after"),
        ("stat=dead", "stat"),
    ],
)
def test_a_list_that_can_not_be_meant_is_refused_by_field(program: Client, query: str, field: str) -> None:
    answer = program.get(f"/api/jobs?{query}")

    assert (answer.status_code, fields(answer)) == (422, [field])


# --- events


def events(answer: Any) -> list[tuple[str, dict[str, Any]]]:
    """What a finished stream told: (event, data) of each."""
    assert answer.content_type.startswith("text/event-stream")
    found = [dict(line.split(": ", 1) for line in part.splitlines()) for part in answer.text.strip().split("\n\n")]
    return [(one["event"], json.loads(one["data"])) for one in found if "event" in one]


def test_a_finished_job_is_told_once(program: Client, done: str) -> None:
    told = events(program.get(f"/api/jobs/{done}/events"))

    assert [(event, job["state"]) for event, job in told] == [("end", "succeeded")]
    assert told[0][1] == program.get(f"/api/jobs/{done}").json


def test_a_job_is_told_as_it_changes(program: Client) -> None:
    job_id = later()
    with program.get(f"/api/jobs/{job_id}/events", buffered=False) as answer:
        parts = iter(answer.response)
        assert next(parts) == b"retry: 1000\n\n"
        assert b"event: change" in next(parts)

        cancel(job_id)

        last = next(parts).decode()
        assert "event: end" in last
        assert '"state":"cancelled"' in last
        assert next(parts, None) is None


def test_a_stream_ends_when_its_key_is_revoked(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_key(app, Scope.READ)
    with client.get(f"/api/jobs/{later()}/events", buffered=False) as answer:
        parts = iter(answer.response)
        next(parts), next(parts)

        apikeys.revoke(apikeys.every()[-1].id)

        assert list(parts) == []


def test_a_stream_ends_when_the_ledger_hangs(
    program: Client, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, over = Event(), Event()

    def hanging(job_id: str) -> JobView | None:
        if hangs.is_set():
            over.wait(5)
            raise TimeoutError("it hung for longer than a stream may")
        return find(job_id)

    monkeypatch.setattr(web.api.jobs, "find", hanging)
    with program.get(f"/api/jobs/{later()}/events", buffered=False) as answer:
        parts = iter(answer.response)
        next(parts), next(parts)
        configure(ledger_timeout_s=0.1)
        hangs.set()

        assert list(parts) == []
    over.set()


def test_a_job_of_any_state_can_be_told(program: Client) -> None:
    from celadon.states import State

    for state in State:
        job_id = a_job_that_is(state)
        view = find(job_id)
        assert view is not None
        assert program.get(f"/api/jobs/{job_id}").json == view.as_dict()
