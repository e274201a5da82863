"""The short form of G13; `make guarantee-G13` runs the long one."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figures


def test_poison_is_dead_after_three_crashes_and_nobody_else_is(short_form: Callable[[str], Figures]) -> None:
    assert short_form("g13").missed == []
