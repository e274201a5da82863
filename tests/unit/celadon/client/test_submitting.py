"""Submitting one job over HTTP."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from celadon import errors
from celadon.client import (
    ApiError,
    CeladonClient,
    InvalidRequest,
    KeyConflict,
    NotAuthorized,
    UnknownJob,
    Unreachable,
)
from tests.servers.process import free_port
from tests.unit.celadon.client.given import ACCEPTED, KEY, receipt
from tests.unit.celadon.scripted import CUT, Reply, problem

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "guides" / "call-it-over-http.md"


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
