"""Workers that live and take no more jobs: found by a message of their own, they begin anew. Others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.nodes import Worker, Workers
from tests.live.platform import CONFIG, Platform
from tests.servers import RedisServer, TcpProxy

LANES = {"default": "recovery.lasting", "data_sync": "recovery.sync.lasting"}
QUICK = {
    "CELERY_CONFIG_MODULE": "tests.live.recoveryconfig",
    "STALL_S": "1.5",
    "CANARY_S": "1",
    "LEASE_S": "60",  # Whatever runs again soon was not left to a lease.
    "RENEW_S": "5",
    "LEDGER_TIMEOUT_S": "10",  # How soon a busy machine takes a submission is not what is tested.
}
LONG_S = 4.0  # A new beginning would come after 2.5 to 3.5 s.


@pytest.fixture
def deployment(tmp_path: Path, ledgers: Ledgers, own_redis: RedisServer, proxied_redis: TcpProxy) -> Iterator[Platform]:
    """Beat and a producer beside a Redis behind a proxy; the workers look after themselves quickly."""
    more = {**QUICK, "BROKER_URL": own_redis.url_through(proxied_redis.port)}
    made = Platform(tmp_path / "live", own_redis, ledgers.fresh("sqlite", CONFIG), more)
    made.beat()
    yield made
    proxied_redis.clear()
    made.stop()


def started(deployment: Platform) -> dict[str, Worker]:
    workers = {
        lane: deployment.worker(lane, HEARTBEAT_FILE=str(deployment.folder / f"heartbeat-{lane}")) for lane in LANES
    }
    Workers(*workers.values()).start()
    return workers


def gone(word: Path) -> None:
    eventually("the worker's loop has come to where it hangs", lambda: not word.exists())


def has_no_zombies(worker: Worker) -> bool:
    """Whether somebody has collected every child of the worker that has ended."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has gone meanwhile.
            state, parent = process.read_text().rpartition(")")[2].split()[:2]
            if (state, parent) == ("Z", str(worker.container.pid)):
                return False
    return True


def begins_anew(worker: Worker, reason: str = "worker.begins_anew") -> None:
    eventually("it begins anew", lambda: reason in worker.logs(), within=20)


def test_a_worker_whose_loop_hangs_gives_its_runs_their_grace_and_begins_anew(deployment: Platform) -> None:
    # Given a worker of threads and one of processes, each with a run that outlasts the grace.
    workers, call = started(deployment), deployment.caller()
    pids = {lane: worker.container.pid for lane, worker in workers.items()}
    running = {lane: call.submit(f"live.{'sync.' * (lane == 'data_sync')}stepped", f"held-{lane}") for lane in LANES}
    for lane in LANES:
        deployment.reached(f"held-{lane}")

    # When their loops hang, and more work comes.
    for lane in LANES:
        (deployment.folder / f"hang-{lane}").touch()
    for lane in LANES:
        gone(deployment.folder / f"hang-{lane}")
    waiting = {lane: call.submit(job, f"new-{lane}", payload={"seconds": 0}) for lane, job in LANES.items()}

    # Then both run it, after a while, in the same processes, and what was cut short burnt nothing.
    for lane, worker in workers.items():
        begins_anew(worker)
        deployment.gates.open(f"held-{lane}")
        deployment.until(waiting[lane]["job_id"], "succeeded", within=20)
        deployment.until(running[lane]["job_id"], "succeeded", within=20)
        assert worker.container.status == "running"
        assert worker.container.pid == pids[lane]
        assert worker.logs().count("worker.ready") == 2
        assert (deployment.folder / f"heartbeat-{lane}.ready").exists()
        eventually("the children that were killed are collected", partial(has_no_zombies, worker))
        row = deployment.job(running[lane]["job_id"])
        assert (row["attempt"], row["crashes"], row["quarantine"]) == (0, 0, 0)
        assert deployment.attempts(running[lane]["job_id"]) == ["interrupted", "succeeded"]
        assert deployment.effects(f"held-{lane}") == ["first", "second"]
        assert deployment.effects(f"new-{lane}") == ["done"]
        assert worker.stop(timeout=10) == 0, "it can be stopped like any other"


def test_a_worker_that_is_idle_or_full_or_has_a_broker_that_is_slow_or_away_is_left_alone(
    deployment: Platform, proxied_redis: TcpProxy
) -> None:
    workers, call = started(deployment), deployment.caller()

    def last_long() -> None:
        """Let it be so for longer than a stall may last."""
        with pytest.raises(AssertionError, match="one begins anew"):
            eventually("one begins anew", lambda: any("begins_anew" in w.logs() for w in workers.values()), LONG_S)

    proxied_redis.delay(0.04)
    last_long()
    proxied_redis.clear()
    full = [
        call.submit(f"live.{'sync.' * (lane == 'data_sync')}stepped", f"full-{lane}-{number}")
        for lane in LANES
        for number in range(6)
    ]
    for lane, slots in (("default", 4), ("data_sync", 2)):
        for number in range(slots):
            deployment.reached(f"full-{lane}-{number}")
    last_long()
    for lane in LANES:
        for number in range(6):
            deployment.gates.open(f"full-{lane}-{number}")
    for receipt in full:
        deployment.until(receipt["job_id"], "succeeded")
    proxied_redis.half_open()
    last_long()
    proxied_redis.cut()
    last_long()
    proxied_redis.clear()
    for lane, job in LANES.items():
        receipt = call.submit(job, f"after-{lane}", payload={"seconds": 0})
        deployment.until(receipt["job_id"], "succeeded", within=20)
    assert not any("begins_anew" in worker.logs() for worker in workers.values())


def test_a_worker_of_threads_that_has_lost_half_of_its_slots_begins_anew(deployment: Platform) -> None:
    worker = deployment.started("default")
    call = deployment.caller()
    lost = [call.submit("recovery.lost", f"lost-{number}") for number in range(2)]

    begins_anew(worker, "slots are lost")
    after = call.submit("recovery.lasting", "after", payload={"seconds": 0})

    deployment.until(after["job_id"], "succeeded", within=20)
    assert worker.logs().count("worker.ready") == 2
    for receipt in lost:
        row = deployment.until(receipt["job_id"], "dead")
        assert (row["error_kind"], row["crashes"]) == ("TimedOut", 0)
        assert deployment.attempts(receipt["job_id"]) == ["timed_out"]
