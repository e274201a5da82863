"""The short form of G7; `make guarantee-G7` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g07


@pytest.mark.timeout(240)  # On a busy machine.
def test_every_repeat_of_an_outside_effect_carries_the_key_of_the_first(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g07.measure(figures, tmp_path, long=False))

    assert figures.missed == []
