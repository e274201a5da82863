"""The judge: reads a round's history and ledger, and says what was lost, doubled, stale or not allowed.

It knows the rules of `celadon/states.py` and nothing else of the platform. Everything it is given is plain data, so
that `tests/fence/test_checker.py` can feed it histories in which something is wrong and see it object.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from celadon.states import FINAL, TRANSITIONS, State
from tests.fence.history import Event

# A job is born in one of these; fence jobs are never adopted, so never dead at birth.
BORN = frozenset({State.SCHEDULED, State.WAITING, State.QUEUED})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's row at the end of the round."""

    id: str
    kind: str
    label: str
    state: str
    epoch: int
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
    """One change of a job's row; `old_*` are None at its birth."""

    job_id: str
    old_state: str | None
    new_state: str
    old_epoch: int | None
    new_epoch: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything known of one round.

    Attributes:
        committed: per kind of job, the transactional steps that leave one committed effect each.
        outside: per kind of job, the outside steps.
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
    unavailable: int = 0
    outside_repeats: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        bad = (self.lost, self.doubled, self.stale_commits, self.key_changes, self.bad_arrows, self.ghosts, self.errors)
        return not any(bad)

    def object(self, count: str, sentence: str) -> None:
        setattr(self, count, getattr(self, count) + 1)
        self.findings.append(f"{count}: {sentence}")


def judge(evidence: Evidence) -> Verdict:
    """Apply every rule to the evidence of one round."""
    verdict = Verdict(jobs=len(evidence.jobs))
    _submissions(evidence, verdict)
    _ends(evidence, verdict)
    _effects(evidence, verdict)
    _results(evidence, verdict)
    _outside(evidence, verdict)
    _arrows(evidence, verdict)
    return verdict


def _named(evidence: Evidence, event: str) -> Iterable[Event]:
    return (e for e in evidence.events if e["event"] == event)


def _submissions(evidence: Evidence, verdict: Verdict) -> None:
    """What was acknowledged is in the ledger; what was rolled back or refused is not, or did not run."""
    jobs = {job.id: job for job in evidence.jobs}
    touched = {effect.job_id for effect in evidence.effects}
    verdict.submissions = sum(1 for _ in _named(evidence, "calling"))
    for event in _named(evidence, "failed"):
        if event["error"].startswith("LedgerUnavailable"):
            verdict.unavailable += 1
        else:
            verdict.object("errors", f"{event['label']} could not be submitted: {event['error']}")
    by_key: dict[str, set[str]] = defaultdict(set)
    for event in _named(evidence, "acknowledged"):
        verdict.acknowledged += 1
        by_key[event["key"] or event["label"]].add(event["job_id"])
        if event["job_id"] not in jobs:
            verdict.object("lost", f"{event['label']} was acknowledged as {event['job_id']}, which has no row")
    for key, ids in by_key.items():
        if len(ids) > 1:
            verdict.object("doubled", f"the key {key} was acknowledged as {len(ids)} jobs: {sorted(ids)}")
    for event in _named(evidence, "rolled_back"):
        if event["job_id"] in jobs or event["job_id"] in touched:
            verdict.object("ghosts", f"{event['label']} was rolled back and yet is in the ledger")
    labels = {job.label for job in evidence.jobs}
    joint = {event["label"] for event in _named(evidence, "calling") if event.get("how") == "session"}
    for label in sorted(joint & labels - set(evidence.notes)):
        verdict.object("ghosts", f"{label} is a job, but what its caller stored with it is not there")
    for label in sorted(set(evidence.notes) - labels):
        verdict.object("lost", f"what the caller stored with {label} is there, but the job is not")
    for event in _named(evidence, "refused"):
        verdict.refused += 1
        job = jobs.get(event["job_id"])
        if job is not None and job.state != State.CANCELLED:
            verdict.object("ghosts", f"{event['label']} was refused and yet is {job.state}")


def _ends(evidence: Evidence, verdict: Verdict) -> None:
    """Every job in the ledger, acknowledged or not, has come to the end it was made for."""
    refused = {event["job_id"] for event in _named(evidence, "refused")}
    in_doubt = {e["label"] for e in _named(evidence, "calling")} - {
        e["label"] for e in evidence.events if e["event"] in ("acknowledged", "refused", "rolled_back", "failed")
    }
    labels = Counter(job.label for job in evidence.jobs)
    for label, count in labels.items():
        if count > 1:
            verdict.object("doubled", f"{label} is {count} jobs")
    for job in evidence.jobs:
        ours = job.label.startswith(f"{evidence.seed}-")
        if not ours:
            verdict.object("ghosts", f"{job.label} ({job.id}) belongs to another round")
        elif job.state == State.CANCELLED and (job.id in refused or job.label in in_doubt):
            continue  # Refused; or its submitter was killed between refusing it and saying so.
        elif job.state not in FINAL:
            verdict.object("lost", f"{job.label} ({job.kind}, {job.id}) ended as {job.state}: {job.reason}")
        elif job.state != State.SUCCEEDED:
            verdict.object("lost", f"{job.label} ({job.kind}, {job.id}) is {job.state}: {job.reason}")


def _effects(evidence: Evidence, verdict: Verdict) -> None:
    """Each transactional step of a job that succeeded left one effect; nothing left two; none was stale."""
    jobs = {job.id: job for job in evidence.jobs}
    counts = Counter((effect.label, effect.step) for effect in evidence.effects)
    for (label, step), count in counts.items():
        if count > 1:
            verdict.object("doubled", f"{label} committed {step} {count} times")
    for job in evidence.jobs:
        if job.state == State.SUCCEEDED:
            for step in evidence.committed[job.kind]:
                if counts[job.label, step] == 0:
                    verdict.object("lost", f"{job.label} ({job.id}) succeeded without its effect {step}")
    for effect in evidence.effects:
        if effect.job_id not in jobs:
            verdict.object("ghosts", f"{effect.label} left the effect {effect.step} and has no row")
        elif effect.seen_epoch != effect.epoch or effect.seen_state != State.RUNNING:
            verdict.object(
                "stale_commits",
                f"{effect.label} committed {effect.step} under epoch {effect.epoch} while the row said "
                f"{effect.seen_state} at epoch {effect.seen_epoch}",
            )
    for (scope, step), count in Counter(evidence.marks).items():
        if count > 1:
            verdict.object("doubled", f"the step {step} of {scope} was marked done {count} times")


def _results(evidence: Evidence, verdict: Verdict) -> None:
    """The recorded result is that of the run whose claim the row held when it was recorded."""
    ended = {a.job_id: a.old_epoch for a in evidence.arrows if a.new_state == State.SUCCEEDED}
    for job in evidence.jobs:
        if job.state == State.SUCCEEDED and job.result_epoch != ended.get(job.id):
            verdict.object(
                "stale_commits",
                f"{job.label} holds the result of epoch {job.result_epoch}, finished at {ended.get(job.id)}",
            )


def _outside(evidence: Evidence, verdict: Verdict) -> None:
    """An outside step happens at least once and carries one key however often it happens."""
    keys: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event in _named(evidence, "outside"):
        keys[event["label"], event["step"]].append(event["key"])
    for (label, step), seen in keys.items():
        verdict.outside_repeats += len(seen) - 1
        if len(set(seen)) > 1:
            verdict.object("key_changes", f"{label} did {step} under {len(set(seen))} keys")
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for effect, seen in keys.items():
        for key in seen:
            owners[key].add(effect)
    for key, effects in owners.items():
        if len(effects) > 1:
            verdict.object("key_changes", f"the key {key} is shared by {sorted(effects)}")
    for job in evidence.jobs:
        if job.state == State.SUCCEEDED:
            for step in evidence.outside[job.kind]:
                if (job.label, step) not in keys:
                    verdict.object("lost", f"{job.label} ({job.id}) succeeded without doing {step}")


def _arrows(evidence: Evidence, verdict: Verdict) -> None:
    """States change along the table only; the epoch rises at each claim and departure, and never falls."""
    last: dict[str, tuple[str, int]] = {}
    for arrow in evidence.arrows:
        told = f"job {arrow.job_id}: {arrow.old_state} at {arrow.old_epoch} -> {arrow.new_state} at {arrow.new_epoch}"
        if arrow.old_state is None or arrow.old_epoch is None:
            if arrow.new_state not in BORN or arrow.job_id in last:
                verdict.object("bad_arrows", f"born wrongly, {told}")
        else:
            if last.get(arrow.job_id) != (arrow.old_state, arrow.old_epoch):
                verdict.object("bad_arrows", f"not where it was left, {told}")
            moved = arrow.old_state != arrow.new_state
            if moved and arrow.new_state not in TRANSITIONS[State(arrow.old_state)]:
                verdict.object("bad_arrows", f"no such arrow, {told}")
            fenced = State.RUNNING in (arrow.old_state, arrow.new_state)
            if arrow.new_epoch < arrow.old_epoch or (fenced and arrow.new_epoch == arrow.old_epoch):
                verdict.object("bad_arrows", f"the epoch must rise, {told}")
            if not moved and arrow.new_state == State.RUNNING:
                verdict.object("bad_arrows", f"claimed while running, {told}")
            if not moved and arrow.new_state in FINAL:
                verdict.object("bad_arrows", f"ended once more, {told}")
        last[arrow.job_id] = (arrow.new_state, arrow.new_epoch)
    for job in evidence.jobs:
        if last.get(job.id) != (job.state, job.epoch):
            verdict.object("bad_arrows", f"job {job.id} is {job.state} at {job.epoch}, last seen {last.get(job.id)}")
