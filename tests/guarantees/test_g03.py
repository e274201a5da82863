"""The short form of G3; `make guarantee-G3` runs the long one."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figures


def test_a_killed_workers_jobs_run_again_soon_and_once(short_form: Callable[[str], Figures]) -> None:
    assert short_form("g03").missed == []
