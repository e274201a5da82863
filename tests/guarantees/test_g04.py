"""The short form of G4; `make guarantee-G4` runs the long one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.figures import Figures


@pytest.mark.timeout(150)  # The first that asks waits for all that run side by side.
def test_a_job_that_outlives_its_lease_a_hundred_times_runs_once(short_form: Callable[[str], Figures]) -> None:
    assert short_form("g04").missed == []
