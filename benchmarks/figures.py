"""Figures: percentiles, bars, and the `name=value` lines that a benchmark ends with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter


def milliseconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1000


def p50(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def p99(samples: Sequence[float]) -> float:
    """The smallest sample that 99 % do not exceed (nearest rank): never better than what was seen."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1]


class Figures:
    """Collects named values, some with a bar, and tells them at the end."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._missed: list[str] = []

    def add(self, name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> None:
        """Keep a figure. at_most, at_least: the bar; beyond it the run fails."""
        self._values[name] = value
        if at_most is not None and not value <= at_most:
            self._missed.append(f"missed: {name} is {value:.4g}, the bar is at most {at_most:g}")
        if at_least is not None and not value >= at_least:
            self._missed.append(f"missed: {name} is {value:.4g}, the bar is at least {at_least:g}")

    @property
    def missed(self) -> list[str]:
        """A sentence for each bar that was missed."""
        return list(self._missed)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def close(self) -> int:
        """Print what was missed and all figures; the exit code."""
        for line in self._missed:
            print(line)
        for name, value in self._values.items():
            print(f"{name}={round(value, 3):g}")
        return 1 if self._missed else 0
