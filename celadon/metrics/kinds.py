"""The kinds of metrics, made at their first use.

By then the process has said whether its numbers are shared with others (`seats`). They are made in prometheus_client's
default registry, so that an application with an exporter of its own finds them in it.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

_counting = threading.Lock()
# A fork waits for whoever counts, so that no lock inside prometheus_client is held for ever in the child.
os.register_at_fork(before=_counting.acquire, after_in_parent=_counting.release, after_in_child=_counting.release)


@dataclass(kw_only=True)
class Metric:
    """One metric; the class says what can be done with it."""

    kind = ""
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    _made: Any = field(default=None, init=False, repr=False)
    _children: dict[tuple[str, ...], Any] = field(default_factory=dict, init=False, repr=False)

    def _child(self, values: tuple[str, ...]) -> Any:
        """prometheus_client's object for these labels. Called with the lock held."""
        child = self._children.get(values)
        if child is None:
            if self._made is None:
                self._made = self._make()
            child = self._children[values] = self._made.labels(*values) if values else self._made
        return child

    def _make(self) -> Any:
        raise NotImplementedError


@dataclass(kw_only=True)
class Count(Metric):
    """Goes up by one with each event."""

    kind = "counter"

    def add(self, *labels: str) -> None:
        with _counting:
            self._child(labels).inc()

    def _make(self) -> Counter:
        return Counter(self.name, self.meaning, self.labels)


@dataclass(kw_only=True)
class Spread(Metric):
    """How long things took, in seconds; `why` gives the reason for the buckets."""

    kind = "histogram"
    buckets: tuple[float, ...]
    why: str

    def observe(self, seconds: float, *labels: str) -> None:
        with _counting:
            self._child(labels).observe(max(0.0, seconds))  # Two clocks' milliseconds may differ.

    def _make(self) -> Histogram:
        return Histogram(self.name, self.meaning, self.labels, buckets=self.buckets)


@dataclass(kw_only=True)
class Level(Metric):
    """How it stands in a process. Of several living processes behind one address the highest is told."""

    kind = "gauge"

    def set(self, value: float) -> None:
        with _counting:
            self._child(()).set(value)

    def _make(self) -> Gauge:
        return Gauge(self.name, self.meaning, multiprocess_mode="livemax")


@dataclass(kw_only=True)
class Reading(Metric):
    """Read at the moment it is asked for, by the process that serves it (`readings`)."""

    kind = "gauge"
