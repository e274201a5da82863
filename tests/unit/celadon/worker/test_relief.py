"""Relief's looks, whatever the broker is like."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celadon import broker, drain
from celadon.ledger import switches
from celadon.queues import lane
from celadon.settings import overridden
from celadon.worker import post, relief
from celadon.worker.relief import Relief
from tests.eventually import eventually


@pytest.mark.parametrize("name", ["default", "data_sync"])
def test_suspects_are_looked_for_by_the_clock_while_the_broker_is_there(name, monkeypatch):
    # Given a lane with a backlog, where no message of a suspect comes to a slot.
    looks: list[int] = []
    monkeypatch.setattr(relief, "solos", SimpleNamespace(look=lambda: looks.append(1), warm_up=lambda **_: None))
    monkeypatch.setattr(broker, "reachable", lambda: True)
    monkeypatch.setattr(switches, "off_broker", lambda: ())
    monkeypatch.setattr(post, "_post", post.Post(lane=lane(name), boot="host:boot"))
    drain.reset()

    with overridden(relief_poll_s=0.01):
        looking = Relief(busy=lambda: 0)
        looking.start()
        eventually("it has looked twice", lambda: len(looks) >= 2)
        looking.stop()


def test_the_launcher_is_warmed_up_at_the_start_and_by_the_clock(monkeypatch):
    asked: list[dict[str, float]] = []
    monkeypatch.setattr(relief, "solos", SimpleNamespace(look=lambda: None, warm_up=lambda **how: asked.append(how)))
    monkeypatch.setattr(broker, "reachable", lambda: True)
    monkeypatch.setattr(switches, "off_broker", lambda: ())
    monkeypatch.setattr(post, "_post", post.Post(lane=lane("default"), boot="host:boot"))
    drain.reset()

    with overridden(relief_poll_s=0.01):
        looking = Relief(busy=lambda: 0)
        looking.start()
        eventually("it has been warmed up twice", lambda: len(asked) >= 2)
        looking.stop()

    assert asked[:2] == [{"missed": relief.MISSED_AT_START}, {}]
