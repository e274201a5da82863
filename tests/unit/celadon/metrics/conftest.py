"""A folder in which this process and its forks count, and metrics of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, values

from celadon.metrics import seats
from celadon.metrics.kinds import Count, Level, Metric

_numbers = count(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everybody counts during the test; afterwards this process counts in its memory again."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    for module, name in ((seats, "_folder"), (seats, "_seat"), (values, "ValueClass")):
        monkeypatch.setattr(module, name, getattr(module, name))
    seats.join(tmp_path)
    return tmp_path


@pytest.fixture
def counter(folder: Path) -> Iterator[Count]:
    made = Count(name=f"unit_counter_{next(_numbers)}_total", meaning="Counts.", labels=("what",))
    yield made
    _forget(made)


@pytest.fixture
def level(folder: Path) -> Iterator[Level]:
    made = Level(name=f"unit_level_{next(_numbers)}", meaning="Stands.")
    yield made
    _forget(made)


def _forget(metric: Metric) -> None:
    """Its files are about to go, so nobody may look at it any more."""
    if metric._made is not None:
        REGISTRY.unregister(metric._made)
