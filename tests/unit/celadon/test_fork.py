"""A process that forks after it has opened connections, as gunicorn and Celery's prefork pool do."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import kombu.pools
import pytest
from sqlalchemy.exc import DatabaseError

import celadon.redis
from celadon import broker, deadline, inline, keeper, submit
from celadon.app import app
from celadon.errors import LedgerUnavailable
from celadon.ledger import db
from celadon.ledger.tables import jobs
from celadon.ledger.writing import insert_job
from celadon.redis import get_redis
from tests.contract.given import a_claim, a_job, count, new_job, store
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import RedisServer

PATIENCE_S = 20


def in_a_child(act: Callable[[], Any]) -> Any:
    """What `act` returns in a fork of this process, as JSON. A child that hangs or dies fails the test."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # No way may lead back into the test run from here.
        try:
            signal.alarm(PATIENCE_S)
            os.write(write, json.dumps({"answer": act()}).encode())
        except BaseException:
            os.write(write, json.dumps({"error": traceback.format_exc()}).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    assert told, "the child hung or was killed"
    report = json.loads(told)
    assert "error" not in report, report["error"]
    return report["answer"]


def test_a_child_asks_the_ledger_over_a_connection_of_its_own(ledger):
    a_job()
    parents = db.engine()

    def ask() -> list[object]:
        return [db.engine() is not parents, count(jobs), a_claim() is not None]

    assert in_a_child(ask) == [True, 1, True]
    assert db.engine() is parents
    assert count(jobs) == 2


def test_a_child_has_connections_in_reserve_of_its_own_and_its_first_thread_does_not_use_them(ledger):
    with ThreadPoolExecutor(1, initializer=db.use_reserve) as pool:
        parents = pool.submit(db.engine).result(10)
        main = db.engine()
        forked = pool.submit(lambda: in_a_child(lambda: [db.engine() in (parents, main), db._reserve is None]))

        # Given a fork made by the very thread that is to use the reserve: its child has other work to do.
        assert forked.result(30) == [False, True]
        assert pool.submit(db.engine).result(10) is parents is not main


def test_a_child_of_a_process_in_the_middle_of_a_transaction_does_not_disturb_it(ledger):
    with db.begin() as connection:
        insert_job(connection, new_job())

        # The child may only read: the parent has SQLite's one write lock, and still has it afterwards.
        assert in_a_child(lambda: count(jobs)) == 0

    assert count(jobs) == 1
    assert store(new_job())[2]


@pytest.mark.parametrize("file", ["no such folder/ledger.db", "no_database.db"])
def test_a_connection_that_could_not_be_made_does_not_hold_up_a_fork(tmp_path, file):
    (tmp_path / "no_database.db").write_text("This is no database. " * 100)

    def ask_and_fork() -> float:
        with pytest.raises((LedgerUnavailable, DatabaseError)):
            count(jobs)
        began = time.monotonic()
        # Given a fork by another thread than that whose connection failed: one that forks does not wait for itself.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(in_a_child, lambda: 7).result(PATIENCE_S) == 7
        return time.monotonic() - began

    with pointed(ledger_url=f"sqlite:///{tmp_path}/{file}"):
        assert ask_and_fork() < 5


def test_a_fork_waits_for_a_transaction_of_another_thread_and_the_child_can_write(ledger):
    inside, go_on = Event(), Event()

    def write() -> None:
        with db.begin() as connection:
            insert_job(connection, new_job())
            inside.set()
            go_on.wait(10)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        inside.wait(10)
        forked = pool.submit(in_a_child, lambda: [count(jobs), store(new_job())[2]])
        with pytest.raises(TimeoutError):
            forked.result(0.3)
        go_on.set()

        # Forked before, it would take the parent's lock for one of its own, or wait for it for ever.
        assert forked.result(PATIENCE_S) == [1, True]
        writing.result(10)
    assert count(jobs) == 2


def test_a_childs_exit_does_not_close_the_parents_connections(broker_of_its_own: RedisServer):
    def use_everything() -> str:
        get_redis().ping()
        return str(submit("unit.deferred", {}).outcome)

    before = use_everything()

    assert in_a_child(use_everything) == before == "queued"
    assert use_everything() == "queued"


def test_parent_and_children_that_send_at_once_do_not_read_each_others_answers(broker_of_its_own: RedisServer):
    def send(times: int) -> int:
        for _ in range(times):
            assert submit("unit.deferred", {}).outcome == "queued"
            get_redis().set("unit:mine", os.getpid())
        return times

    send(2)
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(PATIENCE_S)
                send(10)
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    send(10)

    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    with broker_of_its_own.client() as client:
        assert client.llen("data_sync") == 2 + 4 * 10


def test_a_child_has_pools_clients_slots_threads_and_a_circuit_of_its_own(broker_of_its_own: RedisServer):
    submit("unit.deferred", {})
    get_redis().ping()
    submit("unit.inline", {"word": "x"}, confirm=True)
    parents = (app.pool, get_redis(), broker.circuit, keeper.keeper(), inline._semaphore(), deadline._executor())

    def mine() -> dict[str, bool]:
        inherited = {
            "connections": bool(kombu.pools.connections),
            "producers": bool(kombu.pools.producers),
            "Redis client": celadon.redis._client is not None,
            "ledger threads": deadline._pool is not None,
            "inline slots": inline._slots is not None,
            "keeper": keeper._keeper is not None,
        }
        own = (app.pool, get_redis(), broker.circuit, keeper.keeper(), inline._semaphore(), deadline._executor())
        shared = any(a is b for a, b in zip(own, parents, strict=True))
        return {name: there for name, there in {**inherited, "anything": shared}.items() if there}

    assert in_a_child(mine) == {}


def test_a_child_of_a_parent_whose_circuit_is_open_tries_the_broker_itself(broker_of_its_own: RedisServer):
    broker.circuit.trip("for the test")

    assert in_a_child(lambda: [broker.circuit.open, submit("unit.deferred", {}).outcome]) == [False, "queued"]
    eventually("the parent's own circuit closes by its own probe", lambda: not broker.circuit.open)


@pytest.mark.parametrize("held", [celadon.redis, db, inline, deadline], ids=lambda module: module.__name__)
def test_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(ledger, held):
    with held._lock:

        def ask() -> list[object]:
            free = held._lock.acquire(blocking=False)
            held._lock.release()
            return [free, count(jobs)]

        assert in_a_child(ask) == [True, 0]
