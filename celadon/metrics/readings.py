"""What is read anew for each look at the metrics: the build, the ledger's counts, and the shared files."""

from __future__ import annotations

import platform
import struct
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from celadon import logs, queues
from celadon.ledger import counting, limits, schedules
from celadon.ledger.counting import Counts
from celadon.metrics import seats
from celadon.metrics.declared import (
    BUILD_INFO,
    GATE_WAITING,
    JOBS,
    QUEUE_JOBS,
    QUEUE_OLDEST_AGE_SECONDS,
    SCHEDULES_OVERDUE,
)
from celadon.metrics.kinds import Reading

log = logs.get("celadon.metrics")

OVERDUE_S = 60.0  # A schedule that fires a moment late, or makes up for an absence, is no news.
STALE_S = 60.0  # A count older than that is not told: no number is better than a wrong one.


class Shared(Collector):
    """What all processes of this folder have counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = False  # That it is gone.

    def collect(self) -> Iterable[Metric]:
        if not self._folder.exists():  # Somebody has tidied up. What else this process tells is told.
            if not self._told:
                log.error("metrics.no_folder", folder=str(self._folder), cure="start the process again")
            self._told = True
            return []
        seats.forget_the_dead(self._folder)
        try:
            return list(self._read())
        except (struct.error, FileNotFoundError):
            time.sleep(0.01)  # A process was making its file, or a level's was just removed.
            return list(self._read())

    def _read(self) -> Iterable[Metric]:
        found: Iterable[Metric] = MultiProcessCollector(None, str(self._folder)).collect()
        return found


class Build(Collector):
    """Which version of the platform this is, in which kind of process."""

    def __init__(self, process: str) -> None:
        self._labels = (version("celadon"), platform.python_version(), process)

    def collect(self) -> Iterable[Metric]:
        yield _family(BUILD_INFO, {self._labels: 1})


class Ledger(Collector):
    """The ledger's counts, as the scheduler last took them."""

    def __init__(self) -> None:
        self._taken: tuple[float, Counts, Mapping[tuple[str, ...], int], int] | None = None

    def take(self) -> int:
        """Count anew. Raises LedgerUnavailable."""
        self._taken = (
            time.monotonic(),
            counting.count(queues.names()),
            limits.lines(),
            schedules.overdue(OVERDUE_S),
        )
        return 0

    def collect(self) -> Iterable[Metric]:
        taken = self._taken
        if taken is None or time.monotonic() - taken[0] > STALE_S:
            return
        states, counted = taken[1].states, taken[1].queues
        yield _family(JOBS, {(state,): number for state, number in states.items()})
        yield _family(QUEUE_JOBS, {(name,): found.jobs for name, found in counted.items()})
        yield _family(GATE_WAITING, taken[2])
        yield _family(SCHEDULES_OVERDUE, {(): taken[3]})
        yield _family(QUEUE_OLDEST_AGE_SECONDS, {(name,): found.oldest_s for name, found in counted.items()})


LEDGER = Ledger()
"""The scheduler's own."""


def _family(reading: Reading, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(reading.name, reading.meaning, labels=reading.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
