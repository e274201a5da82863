"""The short form of G7; `make guarantee-G7` runs the long one."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figures


def test_every_repeat_of_an_outside_effect_carries_the_key_of_the_first(short_form: Callable[[str], Figures]) -> None:
    assert short_form("g07").missed == []
