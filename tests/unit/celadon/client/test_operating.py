"""Steering jobs over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from celadon import State, errors
from celadon.client import (
    Unreachable,
)
from tests.unit.celadon.client.given import job
from tests.unit.celadon.scripted import CUT, Reply, problem


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
