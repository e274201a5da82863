"""What operators and other applications do: pause, cancel, expire, adopt, deploy (G12)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery

from tests.eventually import eventually
from tests.live.platform import Platform, Warm


def test_a_paused_queue_holds_its_jobs_and_a_resumed_one_lets_them_go(platform: Warm, name: str) -> None:
    platform.command("pause", "default", "--reason", "a test")
    receipt = platform.call.submit("live.echo", name)
    assert receipt["outcome"] == "waiting"
    assert platform.job(receipt["job_id"])["state"] == "waiting"
    with platform.redis.client() as broker:
        assert broker.llen("default") == 0
    platform.command("resume", "default")
    platform.until(receipt["job_id"], "succeeded")
    assert len(platform.gates.reached(name)) == 1


def test_a_job_that_is_not_claimed_in_time_expires_unrun(platform: Warm, name: str) -> None:
    platform.command("pause", "live.echo", "--kind", "job")
    receipt = platform.call.submit("live.echo", name, expires_in=0.5)
    row = platform.until(receipt["job_id"], "cancelled")
    platform.command("resume", "live.echo", "--kind", "job")
    assert row["error_kind"] == "expired"
    assert platform.gates.reached(name) == []


def test_a_running_job_is_cancelled_at_its_next_step_boundary(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.cancellable", name)
    platform.reached(name)
    assert platform.call.ask("cancel", receipt["job_id"]) == "running"
    platform.until(receipt["job_id"], "cancelled")
    assert platform.attempts(receipt["job_id"]) == ["cancelled"]
    assert platform.effects(name) == ["first"]
    assert platform.lanes["default"].container.status == "running"


def test_a_job_that_is_not_running_is_cancelled_at_once(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.echo", name, delay=60)
    assert platform.call.ask("cancel", receipt["job_id"]) == "cancelled"
    assert platform.job(receipt["job_id"])["state"] == "cancelled"


def test_a_replayed_dead_job_runs_again_with_its_history(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.sync.poison", name)
    platform.until(receipt["job_id"], "dead", within=30)
    before = platform.attempts(receipt["job_id"])
    platform.command("replay", receipt["job_id"])
    eventually("it runs again", lambda: len(platform.attempts(receipt["job_id"])) > len(before))
    platform.until(receipt["job_id"], "dead", within=30)
    assert platform.job(receipt["job_id"])["replays"] == 1
    after = platform.attempts(receipt["job_id"])
    assert len(after) >= len(before) + 3, "its crashes are counted anew"
    assert set(after) == {"crashed"}


def test_a_job_that_no_live_worker_knows_waits_for_one_that_does(fresh: Platform, name: str) -> None:
    fresh.beat()
    old = fresh.started("default")
    new = "tests.live.jobs,tests.live.late_jobs"
    call = fresh.caller(LIVE_IMPORTS=new)
    receipt = call.submit("live.late", name)
    fresh.until(receipt["job_id"], "parked")
    assert old.container.status == "running"
    assert fresh.attempts(receipt["job_id"]) == []
    fresh.started("default", LIVE_IMPORTS=new)
    row = fresh.until(receipt["job_id"], "succeeded")
    assert row["attempt"] == 0
    assert len(fresh.gates.reached(name)) == 1


def foreign(platform: Platform, **options: Any) -> str:
    """Send a plain Celery message, as an application that knows nothing of Celadon does; returns its id."""
    with Celery("stranger", broker=platform.redis.url) as app:
        app.conf.broker_transport_options = {"priority_steps": [0]}
        task_id = str(uuid.uuid4())
        task = options.pop("task", "live.adopted")
        app.send_task(task, queue="default", task_id=task_id, ignore_result=True, **options)
    return task_id


def test_a_plain_celery_message_is_adopted_under_its_own_id(platform: Warm, name: str) -> None:
    job_id = foreign(platform, kwargs={"name": name})
    row = platform.until(job_id, "succeeded")
    assert row["name"] == "live.adopted"
    assert len(platform.gates.reached(name)) == 1


def test_the_eta_of_an_adopted_message_becomes_its_due_time(platform: Warm, name: str) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=1.5)
    job_id = foreign(platform, args=(name,), eta=eta)
    row = platform.until(job_id, "scheduled")
    assert abs(datetime.fromisoformat(str(row["run_at"])).replace(tzinfo=UTC) - eta) < timedelta(seconds=0.1)
    with platform.redis.client() as broker:
        eventually("the message is acknowledged", lambda: broker.hlen("unacked:default") == 0, within=1)
    assert platform.gates.reached(name) == []
    platform.until(job_id, "succeeded")
    assert datetime.now(UTC) >= eta


def test_an_adopted_message_with_canvas_headers_is_dead_with_the_reason(platform: Warm, name: str) -> None:
    job_id = foreign(platform, kwargs={"name": name}, link=[Celery().signature("live.echo", kwargs={"name": name})])
    row = platform.until(job_id, "dead")
    assert "callbacks" in row["error_message"]
    assert platform.gates.reached(name) == []


def test_an_adopted_message_that_does_not_fit_is_dead_with_the_reason(platform: Warm, name: str) -> None:
    job_id = foreign(platform, kwargs={"nome": name})
    assert "nome" in platform.until(job_id, "dead")["error_message"]


def test_a_plain_message_for_a_job_that_does_not_adopt_is_refused(platform: Warm, name: str) -> None:
    job_id = foreign(platform, task="live.echo", kwargs={"name": name})
    eventually("it is told of", lambda: "message.refused" in platform.lanes["default"].logs())
    assert platform.job(job_id) == {}
    assert platform.gates.reached(name) == []


def test_celadon_job_prints_the_whole_story_of_a_job(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.flaky", name)
    platform.until(receipt["job_id"], "succeeded")
    told = json.loads(platform.command("job", receipt["job_id"]))
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["failed", "failed", "succeeded"]


def test_a_worker_takes_no_orders_past_the_ledger(platform: Warm, name: str) -> None:
    worker = platform.lanes["default"]
    receipt = platform.call.submit("live.echo", name, delay=1)
    with Celery(broker=platform.redis.url, set_as_current=False) as celery:
        for order, facts in {
            "cancel_consumer": {"queue": "default"},
            "revoke": {"task_id": receipt["job_id"], "terminate": True},
            "shutdown": {},
        }.items():
            celery.control.broadcast(order, arguments=facts)
        # They are handled in order: with this answer the others have been looked at.
        answers = [lane for answer in celery.control.ping(timeout=2) for lane in answer]
    assert any(lane.startswith("default@") for lane in answers)
    platform.until(receipt["job_id"], "succeeded")
    assert worker.container.status == "running"
