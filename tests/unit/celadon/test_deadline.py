"""Asking with a strict limit."""

from __future__ import annotations

import time
from threading import Event

import pytest

from celadon import deadline
from celadon.deadline import Abandoned, within
from celadon.errors import LedgerUnavailable
from tests.contract.pointed import pointed
from tests.eventually import eventually


def test_an_answer_in_time_is_handed_on():
    assert within(5, lambda _: "answer", job_id="j") == "answer"


def test_an_error_in_time_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError):
        within(5, lambda _: 1 / 0, job_id="j")


def test_a_ledger_that_is_away_is_told_with_the_jobs_id():
    def away(_: Abandoned) -> None:
        raise LedgerUnavailable("gone")

    with pytest.raises(LedgerUnavailable, match="gone") as error:
        within(5, away, job_id="j")
    assert error.value.job_id == "j"


def test_an_answer_that_takes_too_long_is_given_up_and_the_work_sees_it_before_it_commits():
    go_on, seen = Event(), []

    def slow(abandoned: Abandoned) -> None:
        go_on.wait(10)
        try:
            abandoned.check()
        except LedgerUnavailable as error:
            seen.append(str(error))

    began = time.monotonic()
    with pytest.raises(LedgerUnavailable, match=r"did not answer within 0.05 s; .* unless job j can be found") as error:
        within(0.05, slow, job_id="j")
    took = time.monotonic() - began
    go_on.set()

    assert took < 1
    assert error.value.job_id == "j"
    assert eventually("the work gives up", lambda: seen) == ["given up by its caller"]


def test_callers_do_not_wait_for_those_whose_work_hangs():
    go_on, ran = Event(), []
    with pointed(ledger_pool="1"):
        with pytest.raises(LedgerUnavailable):
            within(0.02, lambda _: go_on.wait(10), job_id="a")

        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            within(0.02, lambda _: ran.append("b"), job_id="b")
        assert time.monotonic() - began < 1
        go_on.set()

        # The one thread is free again; what was given up before it began never runs.
        assert within(5, lambda _: "c", job_id="c") == "c"
    assert ran == []


def test_after_a_fork_there_are_new_threads():
    within(5, lambda _: None, job_id="j")
    before = deadline._pool

    deadline.reset()

    within(5, lambda _: None, job_id="j")
    assert deadline._pool is not before
