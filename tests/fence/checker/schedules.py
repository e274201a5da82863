"""Schedules: no due time fires twice, and none is left out but by the policy's words.

Whether a due time may be left out depends on whether a scheduler was there for it. Schedulers say so themselves: a look
that began after the due time and was through before the next one can only have found it. With `missed="all"` every due
time must have its job in the end, whoever was there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from celadon.states import FINAL, State
from tests.fence.checker.evidence import Evidence, Job, Schedule, Verdict

# Of times that were kept in milliseconds, in one of the databases by cutting off the rest.
ROUNDING_S = 0.002
# A change bears the time of its statement; others see it when its transaction has been committed.
UNSEEN_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A job of a schedule: when and as which change it was made, and when and as which it ended."""

    job: Job
    due: float
    born: float
    born_as: int
    over: float
    over_as: float


def schedules(evidence: Evidence, verdict: Verdict) -> None:
    fired: dict[str, list[Fired]] = defaultdict(list)
    for one in _fired(evidence):
        fired[one.job.schedule or ""].append(one)
    for schedule in evidence.schedules:
        of_schedule = sorted(fired.pop(schedule.name, []), key=lambda one: one.due)
        verdict.due_times += len(_due_times(schedule))
        _in_place(schedule, of_schedule, verdict)
        if schedule.overlap != "allow":
            _one_at_a_time(schedule, of_schedule, verdict)
        if schedule.overlap == "replace":
            _replaced(schedule, of_schedule, verdict)
        # Who was outrun by another, or found it at work, need not have seen a due time through.
        looks = [
            (look["since"], look["at"]) for look in evidence.named("looked") if schedule.name not in look["outrun"]
        ]
        _left_out(schedule, of_schedule, looks, verdict)
    for name, strays in fired.items():
        verdict.object("ghosts", f"{len(strays)} jobs of the schedule {name}, which is none of this round's")


def _due_times(schedule: Schedule) -> list[float]:
    count = int((schedule.ends - schedule.first) // schedule.every_s) + 1
    return [schedule.first + number * schedule.every_s for number in range(count)]


def _fired(evidence: Evidence) -> list[Fired]:
    born, over = {}, {}
    for place, arrow in enumerate(evidence.arrows):
        if arrow.old_state is None:
            born[arrow.job_id] = arrow.at, place
        if arrow.new_state in FINAL:
            over[arrow.job_id] = arrow.at, float(place)
    never = inf, inf
    return [
        Fired(
            job=job,
            due=job.due,
            born=born[job.id][0],
            born_as=born[job.id][1],
            over=over.get(job.id, never)[0],
            over_as=over.get(job.id, never)[1],
        )
        for job in evidence.jobs
        if job.schedule is not None and job.due is not None and job.id in born
    ]


def _in_place(schedule: Schedule, fired: Sequence[Fired], verdict: Verdict) -> None:
    """Each job stands for a due time, alone, and was not made before it."""
    asked = _due_times(schedule)
    for due, count in Counter(one.due for one in fired).items():
        if count > 1:
            verdict.object("misfired", f"{schedule.name} fired {count} times for its due time {due:.3f}")
        if not any(abs(due - time) < ROUNDING_S for time in asked):
            verdict.object("misfired", f"{schedule.name} fired for {due:.3f}, which is no due time of it")
    for one in fired:
        if one.born < one.due - ROUNDING_S:
            verdict.object("misfired", f"{schedule.name} fired {one.due - one.born:.3f} s before its due time")


def _one_at_a_time(schedule: Schedule, fired: Sequence[Fired], verdict: Verdict) -> None:
    for before, after in pairwise(fired):
        if after.born_as < before.over_as:
            verdict.object(
                "misfired",
                f"{schedule.name} ({schedule.overlap}) fired {after.job.id} for {after.due:.3f} before the job of "
                f"{before.due:.3f}, {before.job.id}, had ended",
            )


def _replaced(schedule: Schedule, fired: Sequence[Fired], verdict: Verdict) -> None:
    """Nobody is asked to give way before the next due time has come, and after the last none comes."""
    for one in fired:
        following = one.due + schedule.every_s
        too_early = one.over < following - ROUNDING_S or following > schedule.ends
        if one.job.state == State.CANCELLED and too_early:
            verdict.object("misfired", f"{schedule.name} replaced {one.job.id} of {one.due:.3f} at {one.over:.3f}")


def _left_out(
    schedule: Schedule, fired: Sequence[Fired], looks: Sequence[tuple[float, float]], verdict: Verdict
) -> None:
    dealt_with = {round(one.due, 2) for one in fired}
    for due in _due_times(schedule):
        if round(due, 2) in dealt_with:
            continue
        verdict.due_times_left_out += 1
        if schedule.missed == "all":
            verdict.object("missed", f"{schedule.name}: {due:.3f} was left out, and none may be")
            continue
        held_until = max((one.over for one in fired if one.due < due), default=0.0)
        if schedule.overlap == "skip" and held_until > due - UNSEEN_S:
            continue  # The job before it had not ended when it came due.
        # Under `replace` it waits for the end of the one before, and a later due time may have come by then.
        wait = max(due, held_until + UNSEEN_S) if schedule.overlap == "replace" else due
        until = due + schedule.every_s if due + schedule.every_s <= schedule.ends else inf
        if any(since > wait + ROUNDING_S and at < until for since, at in looks):
            verdict.object(
                "missed",
                f"{schedule.name} ({schedule.overlap}, {schedule.missed}): {due:.3f} was left out, "
                "though a scheduler looked in time",
            )
        elif until == inf:
            verdict.object("missed", f"{schedule.name}: its last due time {due:.3f} was left out")
