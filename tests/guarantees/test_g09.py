"""The short form of G9; `make guarantee-G9` runs the long one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g09


def test_a_due_job_starts_on_time_with_many_jobs_in_the_future(tmp_path: Path) -> None:
    figures = Figures()

    need(lambda: g09.measure(figures, tmp_path, long=False))

    assert figures.missed == []
