"""The scheduler's releaser: it holds what has no place, releases in turn, and knows when to look again."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from celadon import releaser as module
from celadon.errors import LedgerUnavailable
from celadon.ledger import limits
from celadon.releaser import LOOK_S, Releaser
from celadon.settings import settings
from tests.contract.given import a_claim, a_job
from tests.contract.limiting import end, limit, states
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")


class Asked:
    """A sender that is only asked to wake."""

    def __init__(self) -> None:
        self.times = 0

    def wake(self) -> None:
        self.times += 1


def a_releaser() -> tuple[Releaser, Asked]:
    sender: Any = Asked()
    return Releaser(sender), sender


def test_with_nothing_limited_that_waits_it_looks_again_at_the_next_tick():
    releaser, sender = a_releaser()
    a_job()

    limit("queue", "scheduled", concurrency=1)

    assert releaser.turn() == settings().tick_s
    assert sender.times == 0


def test_it_releases_in_turn_has_it_sent_and_looks_again_soon():
    releaser, sender = a_releaser()
    limit(concurrency=1)
    first, second = a_job(), a_job()

    assert releaser.turn() == LOOK_S
    assert (states([first, second]), sender.times) == (["queued", "waiting"], 1)

    assert releaser.turn() == LOOK_S
    assert (states([first, second]), sender.times) == (["queued", "waiting"], 1)

    end(a_claim(first))
    releaser.turn()
    assert (states([second]), sender.times) == (["queued"], 2)
    assert releaser.turn() == settings().tick_s


def test_what_was_queued_before_its_limit_gets_its_turn_too():
    releaser, _ = a_releaser()
    before = [a_job(), a_job()]
    limit(concurrency=1)

    releaser.turn()

    assert states(before) == ["queued", "waiting"]
    a_claim(before[0])


def test_old_starts_are_cleared_now_and_then(monkeypatch: pytest.MonkeyPatch):
    releaser, _ = a_releaser()
    cleared: list[int] = []
    monkeypatch.setattr(limits, "forget_starts", lambda: cleared.append(1))

    releaser.turn()
    releaser.turn()

    assert cleared == [1]


def test_its_thread_outlives_a_ledger_that_is_away_and_whatever_else_goes_wrong(monkeypatch: pytest.MonkeyPatch):
    releaser, _ = a_releaser()
    turns: list[int] = []

    def fail() -> float:
        turns.append(1)
        raise LedgerUnavailable if len(turns) == 1 else ValueError("unheard of")

    monkeypatch.setattr(releaser, "turn", fail)
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    with capture_logs() as logged:
        releaser.start()
        eventually("it went on", lambda: len(turns) >= 3)
        releaser.stop()

    assert [one["event"] for one in logged][:2] == ["releaser.ledger_away", "releaser.failed"]
