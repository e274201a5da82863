"""A folder in which this process and its forks count, and metrics of a test's own."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from prometheus_client import values

from celadon.metrics import seats
from celadon.metrics.kinds import Count, Level

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
def counter() -> Count:
    return Count(name=f"unit_counter_{next(_numbers)}_total", meaning="Counts.", labels=("what",))


@pytest.fixture
def level() -> Level:
    return Level(name=f"unit_level_{next(_numbers)}", meaning="Stands.")
