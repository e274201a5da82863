"""A job's way over the broker to a worker of its lane."""

from __future__ import annotations

import json

from tests.eventually import eventually
from tests.live.platform import Warm


def test_a_confirmed_submission_names_the_worker_that_picked_it_up(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.echo", name, confirm=True)
    assert receipt["outcome"] == "picked_up"
    assert str(either.lanes["default"].container.pid) in receipt["by"]
    assert 0 < receipt["after_ms"] < 2000
    row = either.until(receipt["job_id"], "succeeded")
    assert (row["engine"], row["queue"]) == ("worker", "default")


def test_each_lane_runs_the_jobs_of_its_queue(platform: Warm, name: str) -> None:
    platform.gates.open(name)
    receipt = platform.call.submit("live.sync.stepped", name)
    assert receipt["outcome"] == "queued"
    row = platform.until(receipt["job_id"], "succeeded")
    assert row["queue"] == "data_sync"
    assert platform.gates.reached(name)[0] in platform.lanes["data_sync"].container.children
    assert platform.effects(name) == ["first", "second"]


def test_delayed_work_waits_in_the_ledger_and_then_goes_to_the_scheduled_queue(platform: Warm, name: str) -> None:
    # With nobody to consume it the message stays on the broker to be looked at.
    assert platform.lanes["scheduled"].stop() == 0
    receipt = platform.call.submit("live.echo", name, delay=0.5)
    assert receipt["outcome"] == "scheduled"
    assert platform.job(receipt["job_id"])["queue"] == "scheduled"
    with platform.redis.client() as broker:
        assert broker.llen("scheduled") == 0
        eventually("the due job is on the broker", lambda: broker.llen("scheduled") == 1)
        assert broker.llen("default") == 0
        (message,) = broker.lrange("scheduled", 0, -1)
    assert receipt["job_id"] in message
    assert json.loads(message)["headers"]["task"] == "live.echo"
    assert name not in message, "a payload was on the broker"
    platform.again("scheduled")
    assert platform.until(receipt["job_id"], "succeeded")["attempt"] == 0
    assert platform.gates.reached(name) == [platform.lanes["scheduled"].container.pid]


def test_what_a_job_declares_is_kept_through_retries_of_its_own_lane(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.flaky", name)
    row = platform.until(receipt["job_id"], "succeeded")
    assert platform.attempts(receipt["job_id"]) == ["failed", "failed", "succeeded"]
    assert (row["attempt"], row["queue"]) == (2, "default")


def test_a_sleeping_job_frees_its_worker(platform: Warm, name: str) -> None:
    slots = 4
    sleepers = [
        platform.call.submit("live.sleeper", f"{name}-{n}", payload={"seconds": 1.5})["job_id"] for n in range(slots)
    ]
    for job_id in sleepers:
        platform.until(job_id, "scheduled")
    receipt = platform.call.submit("live.echo", name, confirm=True)
    platform.until(receipt["job_id"], "succeeded", within=1.0)
    for n, job_id in enumerate(sleepers):
        row = platform.until(job_id, "succeeded")
        assert row["attempt"] == 0, "a sleep burnt a try"
        assert platform.attempts(job_id) == ["asleep", "succeeded"]
        assert platform.effects(f"{name}-{n}") == ["before", "after"]


def test_a_job_called_by_another_is_the_plain_function(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.calls.another", name)
    row = platform.until(receipt["job_id"], "succeeded")
    assert len(platform.gates.reached(name)) == 1
    assert name in str(row["result"])
