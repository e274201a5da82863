"""The ledger's database is away: refused at once, nothing half-accepted, and all goes on when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Event

import pytest
from sqlalchemy import text

from celadon import Submitted, bulk, cancel, find, list_jobs, replay, run_now, submit, wait
from celadon.bulk import Submission, submit_many
from celadon.errors import CeladonError, LedgerUnavailable
from celadon.ledger import apikeys, claims, moving, presence, recovery, retention, schedules, sending, switches
from celadon.ledger.db import begin, engine, session
from celadon.ledger.migrate import migrate
from celadon.ledger.tables import jobs
from celadon.states import State
from tests.conftest import need
from tests.contract.given import LEASE_S, WORKER, a_claim, a_job, count, race, settle
from tests.contract.jobs import deferred
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.ledgers import KINDS
from tests.servers import PostgresServer

BOUND_S = 1.0  # G15: how long submit may take to say no.


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this module's own, to be stopped and frozen."""
    made = need(PostgresServer)
    made.start()
    yield made
    made.remove()


@pytest.fixture
def postgres(server: PostgresServer) -> Iterator[PostgresServer]:
    """The same, with a ledger in it that this process is connected to and that holds one job."""
    with pointed(ledger_url=server.create_database(f"ledger_{time.monotonic_ns()}"), use_broker="false"):
        migrate()
        a_job()
        yield server


def refused() -> tuple[LedgerUnavailable, float]:
    """Submit, be refused, and tell how long that took."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable) as refusal:
        submit(deferred.name, {"order_id": "1"})
    return refusal.value, time.monotonic() - began


def accepted() -> bool:
    try:
        return submit(deferred.name, {"order_id": "2"}).outcome == Submitted.DEFERRED
    except LedgerUnavailable:
        return False


def test_submit_refuses_within_a_second_while_the_database_is_down_and_goes_on_when_it_is_back(postgres):
    postgres.stop()

    answers = [refused() for _ in range(5)]

    assert max(seconds for _, seconds in answers) < BOUND_S
    assert all(error.job_id and error.retry_after_s >= 1 for error, _ in answers)

    postgres.start()
    eventually("submissions are accepted again", accepted)
    # What was refused was not half-accepted: a second chance to look at it finds nothing.
    assert [find(error.job_id) for error, _ in answers] == [None] * 5
    assert count(jobs) == 2


def test_submit_refuses_within_a_second_while_the_database_is_frozen(postgres):
    postgres.freeze()
    try:
        # More of them than there are connections: none waits for those who wait already.
        answers = race(12, lambda _: refused())
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            wait("x", 30)
        waited_s = time.monotonic() - began
    finally:
        postgres.thaw()

    assert max(seconds for _, seconds in answers) < BOUND_S
    assert waited_s < BOUND_S
    eventually("submissions are accepted again", accepted)
    assert "nothing was accepted, unless job" in str(answers[0][0])


def test_submit_refuses_within_a_second_while_another_process_holds_the_lock_of_an_sqlite_ledger(ledgers):
    with pointed(ledger_url=ledgers.fresh("sqlite"), use_broker="false"):
        with begin():
            errors = [refused() for _ in range(2)]

        assert max(seconds for _, seconds in errors) < BOUND_S
        # The lock is free again, and the given-up submissions do not come through late.
        settle()
        assert accepted()
        assert count(jobs) == 1
        assert [find(error.job_id) for error, _ in errors] == [None, None]


@pytest.mark.parametrize("hurry", [True, False], ids=["before its first insert", "during its last"])
def test_a_bulk_that_was_given_up_does_not_come_through_late(hurry, ledgers, monkeypatch):
    insert, given_up, inserted = bulk.insert_job, Event(), []

    def late(connection, new):
        inserted.append(new)
        if not hurry and len(inserted) == 2:
            given_up.wait()
        return insert(connection, new)

    monkeypatch.setattr(bulk, "insert_job", late)
    with pointed(ledger_url=ledgers.fresh("sqlite"), use_broker="false", ledger_timeout_s="0.1"):
        with begin() if hurry else nullcontext(), pytest.raises(LedgerUnavailable):
            submit_many([Submission(name=deferred.name, payload={"order_id": "1"})] * 2)
        given_up.set()
        settle()

        assert (len(inserted), count(jobs)) == (0 if hurry else 2, 0)


ASKING: dict[str, Callable[[], object]] = {
    "claim": lambda: claims.claim("x", worker=WORKER, engine="worker", lease_s=LEASE_S),
    "renew": lambda: claims.renew([("x", 1)], LEASE_S),
    "promote": moving.promote,
    "reap": recovery.reap,
    "take what is unsent": sending.take_unsent,
    "depth": lambda: sending.depth("default", 5),
    "due schedules": schedules.due_now,
    "alive workers": presence.alive,
    "switches": switches.off_broker,
    "prune": lambda: retention.names(),
    "find": lambda: find("x"),
    "wait": lambda: wait("x", 1),
    "cancel": lambda: cancel("x"),
    "replay": lambda: replay("x"),
    "run now": lambda: run_now("x"),
    "list": list_jobs,
    "verify a key": lambda: apikeys.verify(f"cel_{'0' * 16}_{'x' * 43}"),
    "bulk": lambda: submit_many([Submission(name=deferred.name, payload={"order_id": "1"})]),
    "migrate": migrate,
}


def test_every_other_question_says_that_the_ledger_is_away_too(postgres):
    postgres.stop()
    try:
        for name, ask in ASKING.items():
            with pytest.raises(LedgerUnavailable, match="can't be reached"):
                raise AssertionError(f"{name}: {ask()}")
    finally:
        postgres.start()


def test_a_session_joined_by_a_job_says_so_when_the_database_goes_away_under_it(postgres):
    with session() as own:
        own.execute(text("SELECT 1"))
        postgres.stop()
        try:
            with pytest.raises(LedgerUnavailable):
                submit(deferred.name, {"order_id": "1"}, session=own)
        finally:
            postgres.start()


def test_a_connection_that_the_server_dropped_costs_one_refusal_at_most(postgres):
    claim = a_claim()
    postgres.stop()
    postgres.start()

    refusals = 0
    while True:
        try:
            assert claims.finish(claim, "kept") == State.SUCCEEDED
            break
        except LedgerUnavailable:
            refusals += 1

    assert refusals <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_that_is_not_migrated_is_unavailable_and_not_a_crash(kind, request, tmp_path):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/empty.db"
    else:
        url = request.getfixturevalue("server").create_database(f"empty_{time.monotonic_ns()}")

    with pointed(ledger_url=url, use_broker="false"):
        for ask in (lambda: find("x"), moving.promote, lambda: submit(deferred.name, {"order_id": "1"})):
            with pytest.raises(LedgerUnavailable, match="run `celadon migrate`"):
                ask()


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_of_an_older_release_is_unavailable_until_it_is_migrated(kind, ledgers):
    with pointed(ledger_url=ledgers.fresh(kind)):
        with begin() as connection:
            connection.execute(text("ALTER TABLE schedules DROP COLUMN removed"))

        with pytest.raises(LedgerUnavailable, match="run `celadon migrate`"):
            schedules.due_now()


def test_an_sqlite_file_that_can_not_be_opened_is_unavailable(tmp_path):
    with pointed(ledger_url=f"sqlite:///{tmp_path}/no/such/folder/ledger.db"):
        assert "unable to open database file" in str(refused()[0])


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "not durable and not shared"),
        ("sqlite:///:memory:", "not durable and not shared"),
        ("mysql://h/db", "runs on sqlite or postgresql"),
        ("nonsense", "LEDGER_URL is no database URL"),
        ("nodialect://h/db", "LEDGER_URL is no database URL"),
    ],
)
def test_a_database_that_can_not_be_a_ledger_is_refused_by_name(url, told):
    with pointed(ledger_url=url), pytest.raises(CeladonError, match=told):
        engine()
