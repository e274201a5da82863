"""Steering jobs, schedules and pauses over HTTP."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

import celadon.limits
from celadon import State, errors
from celadon.client import Gate, Limit, Schedule, Unreachable, Use
from celadon.ledger import limits
from celadon.schedules import ScheduleView
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


# --- schedules, limits, pauses


SCHEDULE = {
    "name": "nightly/report",
    "job": "reports.sales",
    "rule": {"crontab": {}, "timezone": "Europe/Berlin"},
    "when": "0 2 * * * Europe/Berlin",
    "queue": None,
    "source": "api",
    "status": "paused",
    "reason": "holidays",
    "missed": "latest",
    "missed_max": 10,
    "overlap": "skip",
    "jitter_s": 0.0,
    "starts_at": None,
    "ends_at": None,
    "last_due": "2026-11-26T01:00:00.000Z",
    "next_due": None,
    "last_job": "1",
}
RULE = {"concurrency": None, "starts": 10, "per_s": 10.0, "each": "tenant"}
GATE = {
    "kind": "tenant",
    "name": "a b/c",
    "rules": [RULE],
    "source": "config",
    "paused": True,
    "until": "2027-01-31T07:00:00.000Z",
    "reason": "unpaid",
    "use_broker": True,
    "waiting": 3,
    "uses": [{"rule": RULE, "key": "acme", "running": 1, "reserved": 2, "starts": 3, "room": 5}],
}


def test_what_the_client_tells_of_schedules_and_gates_has_all_that_the_platform_tells():
    pairs = [(Schedule, ScheduleView), (Gate, limits.Gate), (Use, limits.Use), (Limit, celadon.limits.Limit)]
    for ours, theirs in pairs:
        told = {field.name for field in fields(theirs)} - {"payload"}
        assert {field.name for field in fields(ours)} == told, ours


def test_schedules_are_listed_paused_and_resumed_by_their_whole_name(server, call):
    server.replies = [Reply(json={"schedules": [SCHEDULE]}), Reply(json=SCHEDULE), Reply(json=SCHEDULE)]

    [one] = call("schedules")
    assert (one.name, one.last_due, one.next_due) == ("nightly/report", datetime(2026, 11, 26, 1, tzinfo=UTC), None)
    assert call("pause_schedule", one.name, reason="holidays") == call("resume_schedule", one.name) == one
    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [
        ("GET", "/api/schedules", None),
        ("POST", "/api/schedules/nightly%2Freport/pause", {"reason": "holidays"}),
        ("POST", "/api/schedules/nightly%2Freport/resume", None),
    ]


def test_limits_and_pauses_are_listed_with_their_use(server, call):
    server.replies = [Reply(json={"limits": [GATE]}), Reply(json={"pauses": [GATE]})]

    [gate] = call("limits")
    assert call("pauses") == [gate]
    rule = Limit(concurrency=None, starts=10, per_s=10.0, each="tenant")
    assert gate.rules == (rule,)
    assert gate.uses == (Use(rule=rule, key="acme", running=1, reserved=2, starts=3, room=5),)
    assert [asked.path for asked in server.asked] == ["/api/limits", "/api/pauses"]


def test_a_tenant_is_paused_until_a_time_or_for_one_and_resumed(server, call):
    server.replies = [Reply(json=GATE)] * 3
    ends = datetime(2027, 1, 31, 7, tzinfo=UTC)

    assert call("pause", "tenant", "a b/c", reason="unpaid", until=ends).until == ends
    call("pause", "queue", "default", lasts=timedelta(hours=1))
    call("resume", "tenant", "a b/c")

    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [
        ("PUT", "/api/pauses/tenant/a%20b%2Fc", {"reason": "unpaid", "until": "2027-01-31T07:00:00+00:00"}),
        ("PUT", "/api/pauses/queue/default", {"for_s": 3600.0}),
        ("DELETE", "/api/pauses/tenant/a%20b%2Fc", None),
    ]


def test_a_pause_whose_answer_was_lost_is_asked_for_again(server, call):
    server.replies = [CUT, Reply(json=GATE)]

    assert call("pause", "queue", "default").paused
    assert len(server.asked) == 2
