"""Submitting inside a caller's transaction: the job exists if and only if the caller's rows do."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from celadon import Receipt, Submitted, find, submit
from celadon.errors import InvalidOption, KeyConflict
from celadon.ledger import session, switches
from celadon.ledger.db import engine
from celadon.ledger.tables import jobs
from celadon.states import State
from tests.contract.given import count, race, row
from tests.contract.jobs import RAN, SCRIPT, note_table, notes, write_note


@pytest.fixture(autouse=True)
def _tables(ledger: str) -> None:
    note_table()
    RAN.clear()


def deferred(own: Session, order_id: str = "1", **options: Any) -> Receipt:
    return submit("contract.deferred", {"order_id": order_id}, session=own, **options)


def test_the_job_and_the_callers_rows_are_committed_together():
    with session() as own:
        write_note(own, "mine")
        receipt = submit("contract.inline", {"word": "hello"}, session=own)

        assert (receipt.outcome, RAN) == (Submitted.PENDING, [])
        assert find(receipt.job_id) is None

        own.commit()

    assert notes() == ["mine"]
    assert receipt.outcome == Submitted.INLINE
    assert RAN == ["hello"]
    view = find(receipt.job_id)
    assert view is not None
    assert (view.state, view.result) == (State.SUCCEEDED, {"word": "hello"})


def test_a_registry_of_sessions_stands_for_its_present_one_and_the_others_are_left_alone():
    registry = scoped_session(sessionmaker(engine()))
    write_note(registry(), "mine")
    receipt = submit("contract.inline", {"word": "hello"}, session=registry)
    with registry.session_factory() as another:
        another.begin()
        another.commit()

    assert (receipt.outcome, RAN) == (Submitted.PENDING, [])
    registry.commit()
    registry.remove()

    assert (receipt.outcome, RAN) == (Submitted.INLINE, ["hello"])
    assert notes() == ["mine"]


def test_a_job_that_runs_here_may_use_the_callers_own_registry_of_sessions():
    registry = scoped_session(sessionmaker(engine()))

    def use_it(_: Any) -> None:
        write_note(registry(), "the job's")
        registry.commit()
        registry.remove()

    SCRIPT.append(use_it)
    write_note(registry(), "the caller's")
    receipt = submit("contract.scripted", {}, session=registry)
    registry.commit()
    registry.remove()

    assert receipt.outcome == Submitted.INLINE
    view = find(receipt.job_id)
    assert view is not None
    assert view.state == State.SUCCEEDED
    assert notes() == ["the caller's", "the job's"]


def test_what_is_no_session_is_refused_with_the_cure():
    with pytest.raises(InvalidOption, match="session= is of AsyncSession; give .* its `sync_session`"):
        submit("contract.inline", {"word": "hello"}, session=AsyncSession())

    assert count(jobs) == 0


def test_a_rollback_takes_the_job_along_and_the_receipt_says_so():
    with session() as own:
        write_note(own, "mine")
        receipt = submit("contract.inline", {"word": "hello"}, session=own)
        own.rollback()
        own.commit()

    assert (notes(), RAN, count(jobs)) == ([], [], 0)
    assert (receipt.outcome, receipt.reason) == (Submitted.PENDING, "rolled back: nothing was submitted")


def test_a_session_closed_without_a_commit_submits_nothing_even_when_it_is_used_again():
    own = session()
    lost = deferred(own, "lost")
    own.close()
    kept = deferred(own, "kept")
    own.commit()
    own.close()

    assert (lost.outcome, kept.outcome) == (Submitted.PENDING, Submitted.DEFERRED)
    assert count(jobs) == 1


def test_an_error_of_the_callers_takes_the_job_along():
    with pytest.raises(RuntimeError), session() as own, own.begin():
        receipt = deferred(own)
        raise RuntimeError("the caller's own")

    assert receipt.outcome == Submitted.PENDING
    assert count(jobs) == 0


def test_a_released_savepoint_delivers_nothing_before_the_outer_commit():
    with session() as own:
        with own.begin_nested():
            receipt = submit("contract.inline", {"word": "hello"}, session=own)

        assert (receipt.outcome, RAN) == (Submitted.PENDING, [])
        own.commit()

    assert (receipt.outcome, RAN) == (Submitted.INLINE, ["hello"])


def test_a_released_savepoint_is_no_commit():
    own = session()
    with own.begin_nested():
        receipt = submit("contract.inline", {"word": "hello"}, session=own)
    own.close()

    assert (receipt.outcome, receipt.reason) == (Submitted.PENDING, "rolled back: nothing was submitted")
    assert (RAN, count(jobs)) == ([], 0)


@pytest.mark.parametrize("options", [{}, {"delay": 60}], ids=["due now", "delayed"])
def test_a_rolled_back_savepoint_takes_its_jobs_along_and_no_others(options):
    with session() as own:
        before = deferred(own, "before", **options)
        savepoint = own.begin_nested()
        inside = deferred(own, "inside", **options)
        with own.begin_nested():
            deeper = deferred(own, "deeper", **options)
        savepoint.rollback()
        after = deferred(own, "after", **options)
        own.commit()

    told = Submitted.SCHEDULED if options else Submitted.DEFERRED
    assert [one.outcome for one in (before, after)] == [told, told]
    assert [one.outcome for one in (inside, deeper)] == [Submitted.PENDING, Submitted.PENDING]
    assert inside.reason is not None
    assert "rolled back" in inside.reason
    assert {before.job_id, after.job_id} == {view.id for view in map(find, ids(before, inside, deeper, after)) if view}


def ids(*receipts: Receipt) -> list[str]:
    return [receipt.job_id for receipt in receipts]


def test_several_jobs_of_one_transaction_are_delivered_in_order():
    with session() as own:
        for word in ("a", "b", "c"):
            submit("contract.inline", {"word": word}, session=own)
        own.commit()
        submit("contract.inline", {"word": "d"}, session=own)
        own.commit()

    assert RAN == ["a", "b", "c", "d"]


def test_a_used_key_gives_the_first_job_and_leaves_the_transaction_usable():
    first = submit("contract.deferred", {"order_id": "1"}, key="k")
    with session() as own:
        again = deferred(own, "1", key="k")
        with pytest.raises(KeyConflict):
            deferred(own, "2", key="k")
        write_note(own, "mine")
        own.commit()

    assert (again.outcome, again.job_id) == (Submitted.DUPLICATE, first.job_id)
    assert notes() == ["mine"]
    assert count(jobs) == 1


def test_two_transactions_with_one_key_make_one_job():
    def place(number: int) -> str:
        with session() as own:
            receipt = deferred(own, "1", key="k")
            own.commit()
        return receipt.job_id

    assert len(set(race(4, place))) == 1
    assert count(jobs) == 1


def test_a_session_of_another_database_is_refused_before_anything_is_written(tmp_path):
    foreign = create_engine(f"sqlite:///{tmp_path}/other.db")
    with (
        Session(foreign) as own,
        pytest.raises(InvalidOption, match=r"bound to sqlite:///.*other.db, but the ledger is"),
    ):
        deferred(own)
    foreign.dispose()

    assert count(jobs) == 0


def test_an_engine_of_the_callers_own_on_the_ledgers_database_is_fine(ledger):
    own_engine = create_engine(engine().url)
    with Session(own_engine) as own:
        receipt = deferred(own)
        own.commit()
    own_engine.dispose()

    assert receipt.outcome == Submitted.DEFERRED
    assert row(receipt.job_id).state == State.QUEUED


def test_a_job_that_would_be_refused_can_not_join():
    with session() as own, pytest.raises(InvalidOption, match="fallback='refuse', which can't be kept inside"):
        submit("contract.refused", {"word": "x"}, session=own)


def test_a_paused_job_joins_and_the_receipt_says_that_it_waits():
    switches.pause("job", "contract.deferred")
    with session() as own:
        receipt = deferred(own)
        own.commit()

    assert (receipt.outcome, row(receipt.job_id).state) == (Submitted.WAITING, State.WAITING)


def test_a_delivery_that_fails_does_not_make_the_callers_commit_seem_to_fail():
    with session() as own:
        receipt = submit("contract.inline", {"word": "hello"}, session=own)
        # The ledger's table is out of reach at the moment of delivery, as after a fail-over to an old copy.
        own.execute(text("ALTER TABLE jobs RENAME TO jobs_elsewhere"))
        own.commit()
    with engine().begin() as connection:
        connection.execute(text("ALTER TABLE jobs_elsewhere RENAME TO jobs"))

    assert receipt.outcome == Submitted.DEFERRED
    assert row(receipt.job_id).state == State.QUEUED
