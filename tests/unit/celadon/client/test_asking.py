"""Asking for jobs over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from celadon import State
from celadon.client import (
    CeladonClient,
    InvalidRequest,
    UnknownJobId,
    calls,
)
from tests.unit.celadon.client.given import KEY, job
from tests.unit.celadon.client.test_values import JOB
from tests.unit.celadon.scripted import CUT, Reply, problem


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
