"""Following a job over HTTP."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from celadon.client import (
    ApiError,
    AsyncCeladonClient,
    CeladonClient,
    UnknownJobId,
    calls,
)
from tests.eventually import eventually
from tests.unit.celadon.client.given import KEY, event
from tests.unit.celadon.scripted import CUT, Reply, problem


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
