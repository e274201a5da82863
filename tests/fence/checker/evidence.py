"""What the judge is given, as plain data, and what it says.

All times are seconds since 1970: databases and processes of a run share one host, and so one clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fence.history import Event


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's row at the end of the round. `due` is the due time of the schedule that fired it."""

    id: str
    kind: str
    label: str
    state: str
    epoch: int
    queue: str = "default"
    tenant: str | None = None
    schedule: str | None = None
    due: float | None = None
    result_epoch: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A committed effect, and the epoch and state of its job's row as the commit saw them."""

    job_id: str
    label: str
    step: str
    epoch: int
    seen_epoch: int | None
    seen_state: str | None


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One change of a job's row; `old_*` are None at its birth.

    Arrows stand in the order of the database's counter: what came of a change that had been committed stands behind it.
    """

    job_id: str
    old_state: str | None
    new_state: str
    old_epoch: int | None
    new_epoch: int
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A rule of a queue, a job's name or a tenant; `each`: all together, each tenant or each worker by itself."""

    kind: str
    name: str
    concurrency: int | None = None
    starts: int | None = None
    per_s: float = 0.0
    each: str = "all"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule of the round: due at every `every_s`, counted from 1970, from `first` to `ends`, both included."""

    name: str
    missed: str
    overlap: str
    first: float
    ends: float
    every_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything known of one round.

    Attributes:
        committed: per kind of job, the transactional steps that leave one committed effect each.
        outside: per kind of job, the outside steps.
        poison: kinds of jobs that kill whatever runs them; only they may be dead at the end, and they must be.
        events: the history.
        marks: (scope, step) once per time a step was marked done.
        notes: labels of the rows that callers stored in the transaction in which they submitted.
    """

    seed: int
    committed: Mapping[str, frozenset[str]]
    outside: Mapping[str, frozenset[str]]
    events: Sequence[Event]
    jobs: Sequence[Job]
    effects: Sequence[Effect]
    arrows: Sequence[Arrow]
    marks: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    poison: frozenset[str] = frozenset()
    limits: Sequence[Limit] = ()
    schedules: Sequence[Schedule] = ()

    def named(self, event: str) -> Iterable[Event]:
        return (e for e in self.events if e["event"] == event)


# What is wrong if it is not zero, and what each count means.
FAULTS = {
    "lost": "was accepted and did not come to the end it was made for",
    "doubled": "happened twice",
    "stale_commits": "was committed by a run whose claim was gone",
    "key_changes": "an outside effect changed its idempotency key",
    "bad_arrows": "a row went where the table of transitions has no arrow",
    "ghosts": "is there and should not be",
    "errors": "a submission failed for no reason of the ledger's",
    "over_limit": "ran beyond a limit",
    "ran_paused": "was claimed while it was paused",
    "misfired": "a schedule fired at no due time of its own, twice, too early, or over a job that it must not overlap",
    "missed": "a due time was left out against the schedule's policy",
    "misjudged": "a job that kills its workers was not stopped, or too late",
    "stuck": "a process that had stopped doing its work was left as it was",
}


@dataclass
class Verdict:
    """Counts of one round, and a sentence for each fault found."""

    submissions: int = 0
    acknowledged: int = 0
    refused: int = 0
    jobs: int = 0
    lost: int = 0
    doubled: int = 0
    stale_commits: int = 0
    key_changes: int = 0
    bad_arrows: int = 0
    ghosts: int = 0
    errors: int = 0
    over_limit: int = 0
    ran_paused: int = 0
    misfired: int = 0
    missed: int = 0
    misjudged: int = 0
    stuck: int = 0
    # No faults: how much there was to judge.
    unavailable: int = 0
    outside_repeats: int = 0
    limited_starts: int = 0
    limits_filled: int = 0
    due_times: int = 0
    due_times_left_out: int = 0
    condemned: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(getattr(self, count) for count in FAULTS)

    def object(self, count: str, sentence: str) -> None:
        setattr(self, count, getattr(self, count) + 1)
        self.findings.append(f"{count}: {sentence}")
