"""The short form of G3; `make guarantee-G3` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g03


@pytest.mark.timeout(150)  # On a busy machine.
def test_a_killed_workers_jobs_run_again_soon_and_once(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g03.measure(figures, tmp_path, long=False))

    assert figures.missed == []
