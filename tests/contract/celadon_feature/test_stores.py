"""What each store promises, call by call."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from celadon_feature.stores import NotShared, Run, Standing, Store, StoreUnavailable
from celadon_feature.stores.sql import SqlStore
from tests.contract.celadon_feature.replica import opened
from tests.eventually import eventually

LONG_S, SHORT_S = 60.0, 0.05
UNKNOWN = Standing(state="unknown")


@pytest.fixture(scope="module")
def store(address: str) -> Store:
    return opened(address)


@pytest.fixture
def run(job_id: str) -> Run:
    return Run(job_id=job_id, attempts_made=1, token="first")


def other(run: Run, attempts_made: int = 1) -> Run:
    return replace(run, token="second", attempts_made=attempts_made)


def expired(store: Store, run: Run) -> None:
    """Begin it with a short expiry, and wait until that is over."""
    assert store.begin(run, SHORT_S) is None
    eventually("it has expired", lambda: store.look(run.job_id).state == "interrupted")


def test_an_id_that_was_never_delivered_is_unknown(store: Store, job_id: str) -> None:
    assert store.look(job_id) == UNKNOWN


def test_a_run_that_is_begun_stops_every_other(store: Store, run: Run) -> None:
    assert store.begin(run, LONG_S) is None
    running = Standing(state="running", attempts_made=1)
    assert [store.begin(other(run, attempts), LONG_S) for attempts in (0, 1, 2)] == [running] * 3
    assert store.look(run.job_id) == running


def test_the_same_run_is_begun_however_often_that_is_said(store: Store, run: Run) -> None:
    """A store that got no answer may say it again."""
    assert [store.begin(run, LONG_S) for _ in range(2)] == [None, None]
    assert store.finish(run, success=True, answer="{}")
    assert store.begin(run, LONG_S) == Standing(state="succeeded", attempts_made=1, answer="{}")


def test_a_success_is_final(store: Store, run: Run) -> None:
    store.begin(run, LONG_S)
    assert store.finish(run, success=True, answer='{"a":"ü\\u0000"}')
    kept = Standing(state="succeeded", attempts_made=1, answer='{"a":"ü\\u0000"}')
    assert [store.begin(other(run, attempts), LONG_S) for attempts in (0, 1, 2)] == [kept] * 3
    assert store.look(run.job_id) == kept


def test_a_failure_is_kept_for_its_try_and_lower_ones(store: Store, run: Run) -> None:
    store.begin(run, LONG_S)
    assert store.finish(run, success=False, answer="{}")
    kept = Standing(state="failed", attempts_made=1, answer="{}")
    assert [store.begin(other(run, attempts), LONG_S) for attempts in (0, 1)] == [kept, kept]
    assert store.begin(other(run, 2), LONG_S) is None
    assert store.look(run.job_id) == Standing(state="running", attempts_made=2)


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_an_expired_run_is_interrupted_and_may_run_again(store: Store, run: Run, attempts: int) -> None:
    expired(store, run)
    assert store.look(run.job_id) == Standing(state="interrupted", attempts_made=1)
    assert store.begin(other(run, attempts), LONG_S) is None
    assert store.look(run.job_id) == Standing(state="running", attempts_made=attempts)


def test_a_renewed_run_does_not_expire(store: Store, run: Run) -> None:
    assert store.begin(run, SHORT_S) is None
    assert store.renew(run, LONG_S)
    later = Run(job_id=str(uuid.uuid4()), attempts_made=0, token="later")
    expired(store, later)  # Begun later, with the same expiry.
    assert store.look(run.job_id).state == "running"


def test_a_run_that_expired_is_still_its_own_until_another_has_begun(store: Store, run: Run) -> None:
    expired(store, run)
    assert store.renew(run, LONG_S)
    assert store.look(run.job_id).state == "running"
    assert store.finish(run, success=True, answer="{}")


def test_a_run_that_lost_its_place_changes_nothing(store: Store, run: Run) -> None:
    expired(store, run)
    assert store.begin(other(run), LONG_S) is None
    assert not store.renew(run, LONG_S)
    assert not store.finish(run, success=True, answer="stale")
    store.abandon(run)
    assert store.look(run.job_id) == Standing(state="running", attempts_made=1)
    assert store.finish(other(run), success=False, answer="{}")
    assert not store.finish(run, success=True, answer="stale")


def test_an_ended_run_is_not_renewed(store: Store, run: Run) -> None:
    store.begin(run, LONG_S)
    store.finish(run, success=True, answer="{}")
    assert not store.renew(run, LONG_S)
    store.abandon(run)
    assert store.look(run.job_id).state == "succeeded"


def test_an_abandoned_run_is_interrupted_at_once_and_renewed_no_more(store: Store, run: Run) -> None:
    store.begin(run, LONG_S)
    store.abandon(run)
    assert not store.renew(run, LONG_S)
    assert store.look(run.job_id) == Standing(state="interrupted", attempts_made=1)
    assert store.begin(other(run), LONG_S) is None


def test_what_was_kept_long_enough_is_forgotten(address: str, store: Store, run: Run, job_id: str) -> None:
    short = opened(address, keep_s=0.05)
    short.begin(run, SHORT_S)
    short.finish(run, success=True, answer="{}")
    kept = Run(job_id=str(uuid.uuid4()), attempts_made=0, token="kept")
    store.begin(kept, LONG_S)

    def forgotten() -> bool:
        store.forget()
        return store.look(job_id) == UNKNOWN

    eventually("it is forgotten", forgotten)
    assert store.look(kept.job_id).state == "running"


def test_a_run_that_is_at_work_for_longer_than_answers_are_kept_is_not_forgotten(
    address: str, store: Store, run: Run
) -> None:
    short = opened(address, keep_s=0.3)
    short.begin(run, LONG_S)
    assert store.renew(run, LONG_S)
    later = replace(run, job_id=str(uuid.uuid4()))
    short.begin(later, LONG_S)

    def forgotten() -> bool:
        store.forget()
        return store.look(later.job_id) == UNKNOWN

    eventually("what was begun later is forgotten", forgotten)
    assert store.look(run.job_id).state == "running"


def test_of_many_threads_one_begins(store: Store, job_id: str) -> None:
    ready, begun = threading.Barrier(8), []

    def try_it(number: int) -> None:
        ready.wait()
        if store.begin(Run(job_id=job_id, attempts_made=0, token=str(number)), LONG_S) is None:
            begun.append(number)

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1


@pytest.mark.parametrize(
    "nowhere",
    [
        "sqlite+/no/such/folder/deliveries.db",
        "sql+sqlite:////no/such/folder/deliveries.db",
        "sql+postgresql+psycopg://mail:secret@127.0.0.1:1/mail?connect_timeout=5",
        "redis+redis://:secret@127.0.0.1:1/0",
    ],
)
def test_a_store_that_is_away_says_so_and_no_secret(nowhere: str, run: Run) -> None:
    store = opened(nowhere)
    for call in (
        lambda: store.begin(run, LONG_S),
        lambda: store.finish(run, success=True, answer="the result"),
        lambda: store.look(run.job_id),
    ):
        with pytest.raises(StoreUnavailable) as away:
            call()
        assert "secret" not in str(away.value)
        assert "the result" not in str(away.value)


def test_a_database_that_is_none_of_those_is_refused() -> None:
    mysql = create_engine("mysql://mail@127.0.0.1/mail", module=sqlite3)  # Any driver: it is never asked.
    with pytest.raises(ValueError, match="mysql is not supported; postgresql and sqlite are"):
        SqlStore(mysql)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_warned_of(url: str) -> None:
    with pytest.warns(NotShared, match="no other replica") as warned:
        SqlStore(url)
    assert warned[0].filename == __file__
