"""Connections in reserve: what keeps claims alive never queues behind the jobs for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread

import pytest
from sqlalchemy import Engine, select

from celadon.errors import LedgerUnavailable
from celadon.keeper import Keeper, Running
from celadon.ledger import db, engines
from celadon.ledger.tables import jobs
from tests.contract.given import a_claim, race, row
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.ledgers import Ledgers


@pytest.fixture
def _few_connections(ledgers: Ledgers) -> Iterator[None]:
    with pointed(ledger_url=ledgers.fresh("postgresql"), use_broker="false", ledger_pool=1, lease_s=3, renew_s=0.1):
        yield


pytestmark = pytest.mark.usefixtures("_few_connections")


def engine_of_a_thread(*, reserve: bool) -> Engine:
    found: list[Engine] = []

    def ask() -> None:
        if reserve:
            db.use_reserve()
        found.append(db.engine())

    thread = Thread(target=ask)
    thread.start()
    thread.join(10)
    return found[0]


def test_threads_that_asked_for_it_share_one_engine_and_all_others_another():
    assert engine_of_a_thread(reserve=True) is engine_of_a_thread(reserve=True)
    assert engine_of_a_thread(reserve=False) is db.engine() is not engine_of_a_thread(reserve=True)


def test_an_engine_is_made_once_however_many_ask_for_it_first():
    assert len({id(engine) for engine in race(8, lambda _: db.engine())}) == 1


def test_a_lease_is_renewed_while_the_jobs_use_every_connection():
    keeper = Keeper()
    run = Running(claim=a_claim(lease_s=3), lease_s=30, deadline=time.monotonic() + 60)

    with ExitStack() as busy:
        for _ in range(2):  # The pool's one, and the one that it may have over.
            busy.enter_context(db.begin())
        keeper.add(run)

        eventually("the lease is renewed", lambda: renewed(run))
    keeper.remove(run)
    assert (row(run.claim.job_id).lease_until - run.claim.claimed_at).total_seconds() > 20


def renewed(run: Running) -> bool:
    """Asked over a connection that is neither the jobs' nor the keeper's."""
    engine = engines.make_engine(str(db.engine().url.render_as_string(hide_password=False)))
    try:
        with engine.connect() as connection:
            lease_until = connection.execute(
                select(jobs.c.lease_until).where(jobs.c.id == run.claim.job_id)
            ).scalar_one()
    finally:
        engine.dispose()
    return bool((lease_until - run.claim.claimed_at).total_seconds() > 20)


def test_who_finds_every_connection_in_use_hears_that_the_ledger_can_not_be_asked(monkeypatch):
    with ExitStack() as busy:
        for _ in range(2):
            busy.enter_context(db.begin())
        monkeypatch.setattr(db.engine().pool, "_timeout", 0.1)

        with pytest.raises(LedgerUnavailable, match="All connections to the ledger are in use"), db.begin():
            pytest.fail("there was one more")
