"""Once a job is stored, its submitter gets a receipt, and a true one, whatever becomes of the letting in."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from celadon import Receipt, Submission, Submitted, admission, submit, submit_many
from celadon.errors import LedgerUnavailable
from celadon.ledger import limits, sending
from celadon.ledger.tables import jobs
from celadon.settings import overridden
from celadon.states import State
from tests.contract.given import a_job, count, row
from tests.contract.jobs import anything
from tests.contract.limiting import limit

pytestmark = pytest.mark.usefixtures("ledger")


def raising(error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    return fails


ERRORS = [LedgerUnavailable("gone"), RuntimeError("too many terms in compound SELECT")]


@pytest.mark.parametrize("error", ERRORS)
def test_a_release_that_fails_takes_nothing_from_who_submits(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    limit("job", anything.name, concurrency=1)
    monkeypatch.setattr(limits, "release", raising(error))

    receipt = submit(anything.name, {"value": 1})
    (of_a_bulk,) = submit_many([Submission(name=anything.name, payload={"value": 2})])

    assert isinstance(of_a_bulk, Receipt)
    assert (receipt.outcome, of_a_bulk.outcome) == (Submitted.WAITING, Submitted.WAITING)
    assert count(jobs) == 2


@pytest.mark.parametrize("error", ERRORS)
def test_others_that_can_not_be_told_of_take_nothing_from_who_submits(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    limit("job", anything.name, concurrency=1)
    first = a_job(anything.name, payload={"value": 0})
    monkeypatch.setattr(sending, "not_sent", raising(error))

    receipt = submit(anything.name, {"value": 1})

    assert (row(first).state, receipt.outcome) == (State.QUEUED, Submitted.WAITING)


def test_an_error_on_the_way_to_the_broker_is_logged_and_the_receipt_says_where_the_job_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("celadon.outlook.switched_off", raising(RuntimeError("a fault")))

    with overridden(use_broker="true"):
        receipt = submit(anything.name, {"value": 1})
        (of_a_bulk,) = submit_many([Submission(name=anything.name, payload={"value": 2})])

    assert isinstance(of_a_bulk, Receipt)
    for told in (receipt, of_a_bulk):
        assert (told.outcome, row(told.job_id).state) == (Submitted.DEFERRED, State.QUEUED)
        assert "RuntimeError" in (told.reason or "")


def test_a_release_that_was_given_up_gives_no_place_that_nobody_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    limit("job", anything.name, concurrency=1)
    release, given_up, over = limits.release, threading.Event(), threading.Event()

    def hanging(*args: Any, check: Any, **kwargs: Any) -> Any:
        def at_last() -> None:
            given_up.wait(30)
            check()

        try:
            return release(*args, check=at_last, **kwargs)
        finally:
            over.set()

    def why_waiting(stored: Any) -> dict[str, str]:
        given_up.set()
        return {job.id: "it waits" for job in stored}

    monkeypatch.setattr(limits, "release", hanging)
    monkeypatch.setattr(admission, "why_waiting", why_waiting)
    receipt = submit(anything.name, {"value": 1})

    assert over.wait(30)
    assert (receipt.outcome, row(receipt.job_id).state) == (Submitted.WAITING, State.WAITING)
    assert [job.job_id for job in release()] == [receipt.job_id]


def test_who_was_let_in_by_a_scheduler_just_before_is_not_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    limit("job", anything.name, concurrency=1)
    release = limits.release

    def beaten(*_: Any, **__: Any) -> list[Any]:
        assert len(release()) == 1
        return []

    monkeypatch.setattr(limits, "release", beaten)
    receipt = submit(anything.name, {"value": 1})

    assert (receipt.outcome, row(receipt.job_id).state) == (Submitted.DEFERRED, State.QUEUED)


def test_a_bulk_of_many_tenants_asks_once_what_they_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    limit("job", anything.name, concurrency=1)
    asked: list[int] = []
    why_waiting = admission.why_waiting

    def noted(stored: Any) -> dict[str, str]:
        asked.append(len(stored))
        return why_waiting(stored)

    monkeypatch.setattr(admission, "why_waiting", noted)
    made = [Submission(name=anything.name, payload={"value": n}, tenant=f"tenant-{n}") for n in range(20)]
    told = [one for one in submit_many(made) if isinstance(one, Receipt)]

    assert asked == [19]
    assert [one.outcome for one in told].count(Submitted.WAITING) == 19
