"""Effects: one committed per step, none by a run whose claim was gone, and outside of the database under one key."""

from __future__ import annotations

from collections import Counter, defaultdict

from celadon.states import State
from tests.fence.checker.evidence import Evidence, Verdict


def committed(evidence: Evidence, verdict: Verdict) -> None:
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


def results(evidence: Evidence, verdict: Verdict) -> None:
    """The recorded result is that of the run whose claim the row held when it was recorded."""
    ended = {a.job_id: a.old_epoch for a in evidence.arrows if a.new_state == State.SUCCEEDED}
    for job in evidence.jobs:
        if job.state == State.SUCCEEDED and job.result_epoch != ended.get(job.id):
            verdict.object(
                "stale_commits",
                f"{job.label} holds the result of epoch {job.result_epoch}, finished at {ended.get(job.id)}",
            )


def outside(evidence: Evidence, verdict: Verdict) -> None:
    """An outside step happens at least once and carries one key however often it happens."""
    keys: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event in evidence.named("outside"):
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
