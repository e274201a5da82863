"""What `make demo-delegation` found: a line per queue, and the figures, each with what it has to be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

# By how much the neighbours may be slower. Of some dozens of jobs the 95th hundredth is the bad luck of three, so it is
# no 1.2, which `make guarantee-G11` shows of thousands. Who waits for the one that hangs is slower by a hundred times.
PACE = 2.0
REDIS_MOST, DATABASE_MOST = 10, 20  # Connections of one process of the fleet, however many queues it works.


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job at the end. failed: its tries that did. seconds: from its submission to its end; None: it has not ended."""

    id: str
    queue: str
    state: str
    failed: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of one queue's jobs. once: jobs with exactly one effect. doubled: effects beyond the first."""

    queue: str
    service: str
    jobs: int
    states: Counter[str]
    failed: int
    once: int
    doubled: int

    def __str__(self) -> str:
        succeeded, dead = self.states["succeeded"], self.states["dead"]
        left = self.jobs - succeeded - dead
        told = (self.jobs, succeeded, dead, left, self.failed, self.once, self.doubled)
        return f"  {self.queue:<18} {self.service:<8}" + "".join(f" {number or '·':>9}" for number in told)


_COLUMNS = ("jobs", "succeeded", "dead", "left", "failures", "once", "twice")
HEADING = f"  {'queue':<18} {'service':<8}" + "".join(f" {name:>9}" for name in _COLUMNS)


def lines(jobs: Iterable[Ended], services: Mapping[str, str], effects: Mapping[str, int]) -> list[Line]:
    """A line per queue. services: of each queue, in the order of the lines. effects: how many each job had."""
    of: dict[str, list[Ended]] = {queue: [] for queue in services}
    for job in jobs:
        of[job.queue].append(job)
    return [
        Line(
            queue=queue,
            service=service,
            jobs=len(of[queue]),
            states=Counter(job.state for job in of[queue]),
            failed=sum(job.failed for job in of[queue]),
            once=sum(effects.get(job.id, 0) == 1 for job in of[queue]),
            doubled=sum(max(effects.get(job.id, 0) - 1, 0) for job in of[queue]),
        )
        for queue, service in services.items()
    ]


def p95_ms(seconds: Sequence[float]) -> float:
    """The smallest that 95 % do not exceed (nearest rank); 0 of none."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1] * 1000 if seconds else 0.0


@dataclass(kw_only=True)
class Findings:
    """Figures as `name=value`, and a sentence for each that is not as it has to be.

    not_shown: what could not be tried on this machine.
    """

    figures: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, *, exactly: float | None = None, at_most: float | None = None) -> None:
        self.figures[name] = value
        if exactly is not None and value != exactly:
            self.wrong.append(f"{name} is {value:g}, and has to be {exactly:g}")
        if at_most is not None and value > at_most:
            self.wrong.append(f"{name} is {value:g}, and may be {at_most:g} at most")

    def told(self) -> str:
        """The figures, and below them what was not shown and what is wrong."""
        return "\n".join(
            [f"{name}={value:.10g}" for name, value in self.figures.items()]
            + [f"NOT SHOWN: {one}" for one in self.not_shown]
            + [f"WRONG: {one}" for one in self.wrong]
        )


def judge_pace(findings: Findings, calm: Sequence[Sequence[float]], hung: Sequence[Sequence[float]]) -> None:
    """Whether the neighbours went on as before, by pairs of rounds: whatever else the machine did hit both.

    calm, hung: for each round the seconds that their jobs took, without and while one hung.
    """
    pairs = [(p95_ms(without), p95_ms(meanwhile)) for without, meanwhile in zip(calm, hung, strict=True)]
    without, meanwhile = (median(times) for times in zip(*pairs, strict=True))
    findings.add("neighbours_p95_ms_without", round(without, 1))
    findings.add("neighbours_p95_ms_while_one_hung", round(meanwhile, 1))
    ratio = median(later / before if before else math.inf for before, later in pairs)
    findings.add("neighbours_p95_ratio", round(ratio, 2), at_most=PACE)
