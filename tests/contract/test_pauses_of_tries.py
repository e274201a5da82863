"""A job that says itself when it runs again: `RetryIn` burns a try, `Postponed` does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from celadon import Steps, errors, find, submit
from celadon.errors import InvalidOption, Postponed, RetryIn
from celadon.ledger.db import clock, reading
from celadon.ledger.tables import jobs
from celadon.run import Ran, Runner, run_job
from celadon.states import Outcome, State
from tests.contract.given import WORKER, change, row
from tests.contract.jobs import SCRIPT

pytestmark = pytest.mark.usefixtures("ledger")


def raising(error: BaseException) -> Callable[[Steps], object]:
    def script(_: Steps) -> object:
        raise error

    return script


def a_job(script: Callable[[Steps], object]) -> str:
    """A job of two tries that would be tried again at once."""
    SCRIPT.append(script)
    return submit("contract.scripted", {}, queue="data_sync").job_id


def run(job_id: str) -> Ran:
    change(job_id, state=State.QUEUED)
    return run_job(job_id, Runner(worker=WORKER))


def due_in_s(job_id: str) -> float:
    with reading() as connection:
        due = connection.execute(select(jobs.c.run_at).where(jobs.c.id == job_id)).scalar_one()
        return float((due - clock(connection)).total_seconds())


def timeline(job_id: str) -> list[tuple[Outcome, str]]:
    view = find(job_id)
    assert view is not None
    return [(one.outcome, one.error or "") for one in view.attempts]


@pytest.mark.parametrize("length", [90, 90.0, timedelta(seconds=90)])
def test_a_try_that_sets_its_own_pause_burns_a_try_and_waits_so_long(length: Any) -> None:
    job_id = a_job(raising(RetryIn(length, "the bank says: in a minute and a half")))

    ran = run(job_id)

    assert (ran.state, ran.failed, row(job_id).attempt) == (State.SCHEDULED, True, 1)
    assert due_in_s(job_id) == pytest.approx(90, abs=5)
    assert row(job_id).error_message == "the bank says: in a minute and a half"


def test_a_try_that_sets_its_own_pause_is_the_last_one_all_the_same() -> None:
    job_id = a_job(raising(RetryIn(1, "once more")))

    assert [run(job_id).state for _ in range(2)] == [State.SCHEDULED, State.DEAD]
    assert [outcome for outcome, _ in timeline(job_id)] == [Outcome.FAILED, Outcome.FAILED]


def test_a_postponed_job_burns_nothing_however_often_and_says_why() -> None:
    job_id = a_job(raising(Postponed(90, "the bank is closed")))

    states = [run(job_id).state for _ in range(3)]

    assert (states, row(job_id).attempt) == ([State.SCHEDULED] * 3, 0)
    assert due_in_s(job_id) == pytest.approx(90, abs=5)
    assert timeline(job_id) == [(Outcome.INTERRUPTED, "the bank is closed")] * 3
    SCRIPT.append(lambda _: "open again")
    assert run(job_id).state == State.SUCCEEDED


def test_both_go_through_a_step_that_is_not_done_then() -> None:
    def in_a_step(error: BaseException) -> Callable[[Steps], object]:
        return lambda steps: steps.run("ask", lambda *_, **__: raising(error)(steps), outside=True)

    postponed = a_job(in_a_step(Postponed(9, "closed")))
    assert (run(postponed).state, row(postponed).attempt) == (State.SCHEDULED, 0)

    failed = a_job(in_a_step(RetryIn(9, "busy")))
    assert (run(failed).state, row(failed).attempt) == (State.SCHEDULED, 1)


def test_a_job_that_is_to_be_cancelled_is_not_postponed() -> None:
    def script(_: Steps) -> object:
        change(job_id, cancel_requested=True)
        raise Postponed(9, "closed")

    job_id = a_job(script)

    assert run(job_id).state == State.CANCELLED


@pytest.mark.parametrize("length", [-1, float("nan"), float("inf"), timedelta(days=4000)])
def test_a_pause_that_can_not_be_meant_is_refused(length: Any) -> None:
    for make in (errors.RetryIn, errors.Postponed):
        with pytest.raises(InvalidOption, match="from 0 s to ten years are allowed"):
            make(length, "why")
