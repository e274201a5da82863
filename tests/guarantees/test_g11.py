"""The short form of G11; `make guarantee-G11` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g11


@pytest.mark.timeout(240)  # On a busy machine.
def test_a_service_that_hangs_holds_up_no_other_queue(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g11.measure(figures, tmp_path, long=False))

    assert figures.missed == []


def test_the_95th_of_a_hundred_is_what_95_do_not_exceed() -> None:
    assert g11.p95([1.0]) == 1.0
    assert g11.p95([float(number) for number in range(1, 101)]) == 95.0
    assert g11.p95([float(number) for number in range(1, 21)]) == 19.0
