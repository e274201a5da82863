"""Is the worker well, is it to be tested, or does it begin anew? By a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from celadon import broker, drain
from celadon.queues import lane
from celadon.settings import settings
from celadon.worker import consuming, ending, post
from celadon.worker.consuming import LATE_S, LOOK_S, Watch
from celadon.worker.ending import EXIT_MARGIN_S


@dataclass
class World:
    """What the watch sees, and what it did about it."""

    now: float = 1000.0
    polled_at: float | None = 1000.0
    full: bool = False
    away: bool = False
    sends: bool = True
    sent: list[float] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)
    watch: Watch = field(init=False)

    @property
    def consumer(self) -> object:
        return SimpleNamespace(task_consumer=SimpleNamespace(channel=SimpleNamespace(_brpop_sent_at=self.polled_at)))

    def whistle(self, _queue: object) -> None:
        if not self.sends:
            raise broker.NotSent("full")
        self.sent.append(self.now)

    def pass_by(self, seconds: float) -> None:
        """Time goes by, with a look every second."""
        until = self.now + seconds
        while self.now < until:
            self.now += LOOK_S
            self.watch.look()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(consuming, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(consuming, "_heard_at", 0.0)
    monkeypatch.setattr(broker, "whistle", made.whistle)
    monkeypatch.setattr(ending, "anew", made.anew.append)
    monkeypatch.setattr(post, "_post", post.Post(lane=lane("default"), boot="host:boot"))
    made.watch = Watch(consumer=lambda: made.consumer, full=lambda: made.full, away=lambda: made.away)
    yield made
    drain.reset()


STALL_S, CANARY_S = settings().stall_s, settings().canary_s


def test_a_worker_that_asks_for_messages_is_well(world):
    for _ in range(100):
        world.polled_at = world.now
        world.pass_by(1)

    assert (world.sent, world.anew) == ([], [])


def test_one_that_does_not_is_tested_and_begins_anew_if_its_own_message_does_not_come(world):
    world.pass_by(STALL_S)
    assert len(world.sent) == 1

    world.pass_by(CANARY_S - 1)
    assert world.anew == []
    world.pass_by(1)

    assert world.anew == [f"it takes no messages, not even its own of {CANARY_S:.0f} s ago"]
    # With the grace for its runs it is back within a minute.
    assert STALL_S + CANARY_S + lane("default").grace_s - EXIT_MARGIN_S < 60


def test_one_whose_own_message_comes_is_well(world, monkeypatch):
    # Given a broker that pushes messages, where nobody can be seen asking.
    world.polled_at = None

    for _ in range(5):
        world.pass_by(STALL_S)
        monkeypatch.setattr(consuming, "_heard_at", world.now)
        world.pass_by(1)

    assert len(world.sent) == 5
    assert world.anew == []


@pytest.mark.parametrize("excuse", ["full", "away"])
def test_one_that_is_full_or_has_no_broker_is_left_alone_and_given_its_time_afterwards(world, excuse):
    setattr(world, excuse, True)
    world.pass_by(1000)
    assert (world.sent, world.anew) == ([], [])

    setattr(world, excuse, False)
    world.pass_by(STALL_S - 2)

    assert world.sent == []


def test_one_that_can_not_be_tested_is_left_alone(world):
    world.sends = False

    world.pass_by(1000)

    assert world.anew == []


def test_a_process_that_stood_still_is_given_its_time_again(world):
    world.pass_by(STALL_S)
    assert world.sent

    world.now += 3600  # SIGSTOP, a laptop's lid, a host that was moved.
    world.watch.look()

    assert (world.watch._sent_at, world.anew) == (None, [])


def test_the_heartbeat_stops_for_one_that_is_known_to_be_unfit_but_not_while_it_ends_within_its_grace(world):
    world.pass_by(STALL_S + CANARY_S)
    assert world.watch.satisfied()
    world.now += 3 * LATE_S
    assert not world.watch.satisfied()

    drain.begin()
    world.watch._watch()
    world.now += lane("default").grace_s + LATE_S
    assert world.watch.satisfied()
    world.now += 2 * LATE_S
    assert not world.watch.satisfied()
