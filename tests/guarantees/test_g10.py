"""The short form of G10; `make guarantee-G10` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g10


@pytest.mark.timeout(150)
def test_three_schedulers_that_are_disturbed_fire_each_due_time_once(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g10.measure(figures, tmp_path, long=False))

    assert figures.missed == []
