"""Slots that stand aside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Thread

import pytest

from celadon import drain
from celadon.worker import aside
from tests.eventually import eventually


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    aside.ask(False)
    drain.reset()


def test_a_slot_goes_on_at_once_unless_it_is_asked_to_stand_aside():
    slot = Thread(target=aside.stand, daemon=True)
    slot.start()
    slot.join(5)

    assert not slot.is_alive()


@pytest.mark.parametrize("because", ["it is asked no longer", "the worker stops", "it has been long enough"])
def test_a_slot_stands_aside_until(because: str, monkeypatch: pytest.MonkeyPatch):
    if because == "it has been long enough":
        monkeypatch.setattr(aside, "PATIENCE_S", 0)
        monkeypatch.setattr(aside, "HOLD_S", 0.3)
    aside.ask(True)
    slot = Thread(target=aside.stand, daemon=True)
    slot.start()
    slot.join(0.1)
    assert slot.is_alive()

    if because == "it is asked no longer":
        aside.ask(False)
    elif because == "the worker stops":
        drain.begin()

    eventually("it goes on", lambda: not slot.is_alive())


def test_a_child_process_hears_of_it():
    child = os.fork()
    if child == 0:
        while not aside.asked():
            pass
        os._exit(0)

    aside.ask(True)

    assert os.waitpid(child, 0)[1] == 0
