"""The short form of G16; `make guarantee-G16` runs the long one."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figures


def test_with_redis_full_nothing_is_lost_and_afterwards_work_goes_on(
    short_form: Callable[[str], Figures],
) -> None:
    assert short_form("g16").missed == []
