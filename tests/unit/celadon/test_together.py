"""Calls that are done together: who waits for nobody, who goes by itself, and what each hears."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from celadon.errors import LedgerUnavailable
from celadon.ledger import together
from celadon.ledger.together import Alone, Together
from tests.eventually import eventually


class Doubling:
    """Doubles numbers. The first call waits until `go`, so that the others come meanwhile."""

    def __init__(self, *, odd_alone: bool = False, fails: Exception | None = None) -> None:
        self.ones: list[int] = []
        self.groups: list[list[int]] = []
        self.go, self.begun = threading.Event(), threading.Event()
        self._odd_alone, self._fails = odd_alone, fails
        self.call: Together[int, int] = Together(self._one, self._many)

    def _one(self, number: int) -> int:
        self.ones.append(number)
        if not self.begun.is_set():
            self.begun.set()
            assert self.go.wait(10)
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return 2 * number

    def _many(self, numbers: Sequence[int]) -> list[int | Alone]:
        self.groups.append(list(numbers))
        if self._fails is not None:
            raise self._fails
        return [Alone() if self._odd_alone and number % 2 else 2 * number for number in numbers]


def crowd(doubling: Doubling, numbers: Sequence[int]) -> tuple[Future[int], list[Future[int]]]:
    """The call that is under way while so many others come, and then goes on; and those others."""
    pool = ThreadPoolExecutor(len(numbers) + 1)
    first = pool.submit(doubling.call, 100)
    assert doubling.begun.wait(10)
    others = []
    for place, number in enumerate(numbers):
        others.append(pool.submit(doubling.call, number))
        eventually("it waits", lambda place=place: len(doubling.call._waiting) > place)  # type: ignore[misc]
    doubling.go.set()
    pool.shutdown(wait=True)
    return first, others


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 10.0)


def test_who_finds_nobody_at_it_is_alone() -> None:
    doubling = Doubling()
    doubling.go.set()

    assert [doubling.call(number) for number in (1, 2)] == [2, 4]
    assert (doubling.ones, doubling.groups) == ([1, 2], [])


def test_those_who_come_meanwhile_are_done_together_in_their_order() -> None:
    doubling = Doubling()

    first, others = crowd(doubling, [1, 2, 3])

    assert (first.result(), [one.result() for one in others]) == (200, [2, 4, 6])
    assert (doubling.ones, doubling.groups) == ([100], [[1, 2, 3]])


def test_what_the_group_leaves_out_is_done_alone() -> None:
    doubling = Doubling(odd_alone=True)

    _, others = crowd(doubling, [1, 2, 3])

    assert [one.result() for one in others] == [2, 4, 6]
    assert sorted(doubling.ones) == [1, 3, 100]


@pytest.mark.parametrize("error", [LedgerUnavailable("it is away"), RuntimeError("a bug")], ids=["away", "bug"])
def test_where_the_group_fails_each_hears_what_concerns_it(error: Exception) -> None:
    doubling = Doubling(fails=error)

    _, (good, bad) = crowd(doubling, [1, -1])

    assert good.result() == 2
    with pytest.raises(ValueError, match="-1 is below 0"):
        bad.result()


def test_where_the_database_goes_away_nobody_writes_again_and_each_hears_it() -> None:
    away = LedgerUnavailable("it is away")
    away.__cause__ = OSError("the connection was lost")  # It may have committed.
    doubling = Doubling(fails=away)

    _, others = crowd(doubling, [1, 2])

    for one in others:
        with pytest.raises(LedgerUnavailable, match="it is away"):
            one.result()
    assert doubling.ones == [100]


def test_an_error_of_who_is_alone_lets_the_next_go_on() -> None:
    doubling = Doubling()
    doubling.go.set()

    with pytest.raises(ValueError, match="below 0"):
        doubling.call(-1)
    assert doubling.call(1) == 2


def test_one_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.02)
    doubling = Doubling()
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(doubling.call, 100)
        assert doubling.begun.wait(10)

        assert doubling.call(1) == 2
        assert not hung.done()
        doubling.go.set()
    assert (doubling.ones, doubling.groups) == ([100, 1], [])


def test_no_group_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST", 2)
    doubling = Doubling()

    _, others = crowd(doubling, [1, 2, 3, 4])

    assert [one.result() for one in others] == [2, 4, 6, 8]
    assert doubling.groups == [[1, 2], [3, 4]]


def test_a_child_does_not_wait_for_its_parent_s_threads() -> None:
    doubling = Doubling()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(doubling.call, 100)
        assert doubling.begun.wait(10)
        child = os.fork()
        if not child:
            os._exit(doubling.call(1))
        doubling.go.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
