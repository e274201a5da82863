"""A broker that is down, wiped or silent, and a ledger that is away (G1, G14, G15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.caller import Caller, Refusal
from tests.live.platform import CONFIG, Platform
from tests.servers import PostgresServer, RedisServer, TcpProxy


def test_with_the_broker_down_a_submission_runs_inline_within_its_budget(fresh: Platform, name: str) -> None:
    call = fresh.caller()
    call.submit("live.echo", f"{name}-warm")  # A process's very first submission imports and connects.
    fresh.redis.kill()
    receipt = call.submit("live.echo", f"{name}-0")
    assert receipt["outcome"] == "inline"
    assert call.took_ms < 300, "the first submission of an outage"
    took = []
    for n in range(1, 21):
        receipt = call.submit("live.deferred", f"{name}-{n}")
        assert receipt["outcome"] == "deferred"
        took.append(call.took_ms)
    assert sorted(took)[-2] < 20, f"with the circuit open: {took}"
    assert len(fresh.gates.reached(f"{name}-0")) == 1


def test_a_half_open_broker_costs_one_bounded_wait_and_then_nothing(
    fresh: Platform, proxied_redis: TcpProxy, name: str
) -> None:
    call = fresh.caller(BROKER_URL=fresh.redis.url_through(proxied_redis.port))
    assert call.submit("live.echo", f"{name}-0")["outcome"] == "queued"
    proxied_redis.half_open()
    receipt = call.submit("live.echo", f"{name}-1")
    assert receipt["outcome"] == "inline"
    assert "no answer in time" in receipt["reason"]
    assert call.took_ms < 400
    took = []
    for number in range(5):
        call.submit("live.deferred", f"{name}-2-{number}")
        took.append(call.took_ms)
    assert min(took) < 30, "the circuit is open, so nobody waits for the broker"
    proxied_redis.clear()
    eventually("the circuit closes", lambda: not call.ask("circuit"))
    assert call.submit("live.echo", f"{name}-3")["outcome"] == "queued"


def test_a_publish_that_timed_out_but_arrived_runs_once(fresh: Platform, proxied_redis: TcpProxy, name: str) -> None:
    call = fresh.caller(BROKER_URL=fresh.redis.url_through(proxied_redis.port))
    call.submit("live.echo", f"{name}-warm")
    proxied_redis.deaf()
    receipt = call.submit("live.sleeper", name, payload={"seconds": 0})
    assert receipt["outcome"] == "inline"
    with fresh.redis.client() as broker:
        assert broker.llen("default") == 2, "the message did not arrive, so this shows nothing"
    fresh.started("default")
    fresh.reached(f"{name}-warm")
    with fresh.redis.client() as broker:
        eventually("the second message is consumed", lambda: broker.llen("default") == 0)
    assert fresh.effects(name) == ["before", "after"]
    assert len(fresh.gates.reached(name)) == 1


def test_refusing_work_is_refused_with_the_broker_down_and_never_runs(fresh: Platform, name: str) -> None:
    fresh.redis.kill()
    call = fresh.caller()
    with pytest.raises(Refusal) as refusal:
        call.submit("live.refused", name)
    assert refusal.value.kind == "Refused"
    assert fresh.job(str(refusal.value.job_id))["state"] == "cancelled"
    # Its key is free again: the same thing may be tried later.
    with pytest.raises(Refusal):
        call.submit("live.refused", name, key="once")
    fresh.redis.start()
    eventually("the circuit closes", lambda: not call.ask("circuit"))
    assert call.submit("live.refused", name, key="once")["outcome"] == "queued"


def test_workers_take_deferred_and_retried_work_from_the_ledger_while_the_broker_is_away(
    fresh: Platform, name: str
) -> None:
    fresh.beat()
    worker = fresh.started("default")
    fresh.redis.kill()
    call = fresh.caller()
    deferred = call.submit("live.deferred", name)
    assert deferred["outcome"] == "deferred"
    row = fresh.until(deferred["job_id"], "succeeded")
    assert row["engine"] == "worker"
    # A retry needs the scheduler as well, and no broker either.
    flaky = call.submit("live.flaky", f"{name}-flaky")
    assert fresh.until(flaky["job_id"], "succeeded")["attempt"] == 2
    assert "relief.began" in worker.logs()
    fresh.redis.start()
    eventually("relief ends when the broker is back", lambda: "relief.ended" in worker.logs())
    eventually("the circuit closes", lambda: not call.ask("circuit"))
    assert call.submit("live.echo", f"{name}-after", confirm=True)["outcome"] == "picked_up"


@pytest.mark.parametrize(("lane", "job"), [("default", "live.stepped"), ("data_sync", "live.sync.stepped")])
def test_a_worker_outlives_a_broker_that_is_killed_while_it_runs_a_job(
    fresh: Platform, name: str, lane: str, job: str
) -> None:
    worker = fresh.started(lane)
    receipt = fresh.caller().submit(job, name)
    fresh.reached(name)
    fresh.redis.kill()
    eventually("the worker sees it", lambda: "Connection to broker lost" in worker.logs())
    fresh.gates.open(name)  # Its message can be acknowledged to nobody.
    fresh.until(receipt["job_id"], "succeeded")
    fresh.redis.start()
    eventually("it consumes again", lambda: worker.logs().count("Connected to") == 2)
    assert fresh.attempts(receipt["job_id"]) == ["succeeded"]
    assert worker.stop() == 0


def test_a_worker_can_start_while_the_broker_is_down_and_is_ready(fresh: Platform, name: str) -> None:
    fresh.redis.kill()
    receipt = fresh.caller().submit("live.deferred", name)
    worker = fresh.worker("default", HEARTBEAT_FILE=str(fresh.folder / "heartbeat"))
    worker.container.start()
    assert fresh.until(receipt["job_id"], "succeeded", within=20)["engine"] == "worker"
    eventually("it is ready", (fresh.folder / "heartbeat.ready").exists)


def test_a_wiped_broker_is_told_again(fresh: Platform, name: str) -> None:
    call = fresh.caller()
    jobs = [call.submit("live.echo", f"{name}-{n}")["job_id"] for n in range(20)]
    with fresh.redis.client() as broker:
        assert broker.llen("default") == 20
    fresh.redis.restart_empty()
    fresh.beat()
    fresh.started("default")
    for n, job_id in enumerate(jobs):
        fresh.until(job_id, "succeeded")
        assert len(fresh.gates.reached(f"{name}-{n}")) == 1
        assert fresh.attempts(job_id) == ["succeeded"]


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_with_the_ledger_away_submit_refuses_within_a_second(
    own_postgres: PostgresServer, redis_server: RedisServer, tmp_path: Path, name: str, how: str
) -> None:
    url = Ledgers(tmp_path, lambda: own_postgres).fresh("postgresql", CONFIG)
    platform = Platform(tmp_path, redis_server, url)
    try:
        call = platform.caller()
        assert call.submit("live.echo", name)["outcome"] == "queued"
        platform.engine.dispose()
        own_postgres.stop() if how == "stopped" else own_postgres.freeze()
        doubtful = []
        for _ in range(3):
            with pytest.raises(Refusal) as refusal:
                call.submit("live.echo", f"{name}-away")
            assert refusal.value.kind == "LedgerUnavailable"
            assert refusal.value.took_ms < 1000
            doubtful.append(str(refusal.value.job_id))
        own_postgres.start() if how == "stopped" else own_postgres.thaw()
        eventually("it is accepted again", lambda: accepted(call, f"{name}-back"))
        # Nothing was half accepted: an answer that was lost can be asked about, and is no or a whole job.
        for job_id in doubtful:
            assert platform.job(job_id).get("state") in (None, "queued")
    finally:
        own_postgres.thaw()
        platform.stop()


def accepted(call: Caller, name: str) -> bool:
    try:
        return bool(call.submit("live.echo", name))
    except Refusal:
        return False
