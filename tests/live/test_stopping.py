"""A worker that is told to stop under load: it ends within its grace, and what it held is done elsewhere, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.nodes import Worker, Workers
from tests.live.platform import CONFIG, Platform
from tests.servers import PostgresServer, RedisServer

GRACE_S = 6
LOAD = 16  # Jobs of each lane, more than it gets through until it is stopped.
UNHURRIED = {"LEDGER_TIMEOUT_S": "10"}  # How soon a busy machine takes a submission is not what is tested.
PREFIX = {"default": "", "data_sync": "sync."}


@pytest.fixture
def deployment(tmp_path: Path, ledgers: Ledgers, own_redis: RedisServer) -> Iterator[Platform]:
    # With a long lease: whatever runs again soon was not left to it.
    more = {"CELERY_CONFIG_MODULE": "tests.live.recoveryconfig", "LEASE_S": "60", "RENEW_S": "5", **UNHURRIED}
    made = Platform(tmp_path / "live", own_redis, ledgers.fresh("sqlite", CONFIG), more)
    made.beat()
    yield made
    made.stop()


def ended(lane: str, worker: Worker, within: float) -> None:
    eventually(f"{lane} has ended", lambda: worker.container.status == "exited", within)


def test_a_loaded_worker_ends_within_its_grace_and_the_next_has_its_jobs_at_once(deployment: Platform) -> None:
    call = deployment.caller()
    workers = {lane: deployment.worker(lane, "--grace", str(GRACE_S), "--concurrency", "2") for lane in PREFIX}
    Workers(*workers.values()).start()

    # Given a run that never ends, one that ends within the grace, and more work than there are slots.
    held, ending, jobs = {}, {}, {}
    for lane, prefix in PREFIX.items():
        held[lane] = call.submit(f"live.{prefix}stepped", f"held-{lane}")["job_id"]
        deployment.reached(f"held-{lane}")
        ending[lane] = call.submit(f"recovery.{prefix}whole", f"ending-{lane}", payload={"seconds": 2})["job_id"]
        deployment.reached(f"ending-{lane}")
        for name in [f"{lane}-{number}" for number in range(LOAD)]:
            jobs[name] = call.submit(f"recovery.{prefix}lasting", name, payload={"seconds": 0.05})["job_id"]

    # When both are stopped.
    began = time.monotonic()
    for worker in workers.values():
        worker.kill("SIGTERM")
    for lane, worker in workers.items():
        ended(lane, worker, within=GRACE_S)
        assert worker.stop() == 0
    assert time.monotonic() - began < GRACE_S

    # Then nothing runs any more, nothing crashed, and what ran to its end in time is done.
    for lane in PREFIX:
        assert deployment.attempts(held[lane]) == ["interrupted"]
        assert deployment.attempts(ending[lane]) == ["succeeded"]
    rows = {name: deployment.job(job_id) for name, job_id in jobs.items()}
    assert {row["state"] for row in rows.values()} <= {"queued", "succeeded"}
    assert {(row["attempt"], row["crashes"], row["quarantine"]) for row in rows.values()} == {(0, 0, 0)}

    # And the next workers do the rest at once: nothing waits for a lease, a resend or a visibility time-out.
    for lane in PREFIX:
        deployment.gates.open(f"held-{lane}")
    Workers(*workers.values()).start()
    for name, job_id in jobs.items():
        deployment.until(job_id, "succeeded", within=20)
        assert deployment.effects(name) == ["done"]
    for lane in PREFIX:
        deployment.until(held[lane], "succeeded")
        assert deployment.effects(f"held-{lane}") == ["first", "second"]


@pytest.fixture
def on_postgres(tmp_path: Path, own_redis: RedisServer, own_postgres: PostgresServer) -> Iterator[Platform]:
    ledgers = Ledgers(tmp_path, lambda: own_postgres)
    more = {"CELERY_CONFIG_MODULE": "tests.live.recoveryconfig", **UNHURRIED}
    made = Platform(tmp_path / "live", own_redis, ledgers.fresh("postgresql", CONFIG), more)
    yield made
    own_postgres.thaw()
    made.stop()


def test_a_database_and_a_broker_that_hang_keep_no_worker_beyond_its_grace(
    on_postgres: Platform, own_redis: RedisServer, own_postgres: PostgresServer
) -> None:
    call = on_postgres.caller()
    workers = {lane: on_postgres.worker(lane, "--grace", "5", "--concurrency", "2") for lane in PREFIX}
    Workers(*workers.values()).start()
    for lane, prefix in PREFIX.items():
        call.submit(f"live.{prefix}stepped", f"held-{lane}")
        on_postgres.reached(f"held-{lane}")

    own_postgres.freeze()
    own_redis.freeze()
    began = time.monotonic()
    for worker in workers.values():
        worker.kill("SIGTERM")

    for lane, worker in workers.items():
        ended(lane, worker, within=5)
    assert time.monotonic() - began < 5
