"""The short form of G8; `make guarantee-G8` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g08

SECOND = g08.WINDOW_NS


@pytest.mark.timeout(240)  # On a busy machine.
def test_never_more_start_in_a_window_than_its_limit_allows(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g08.measure(figures, tmp_path, long=False))

    assert figures.missed == []


def test_the_checker_sees_a_window_wherever_it_begins() -> None:
    assert g08.most_in_a_window([]) == 0
    assert g08.most_in_a_window([5]) == 1
    assert g08.most_in_a_window([0, SECOND]) == 2
    assert g08.most_in_a_window([0, SECOND + 1]) == 1
    assert g08.most_in_a_window([0, SECOND - 2, SECOND + 1, SECOND + 2, 2 * SECOND + 4]) == 3
