"""States and epochs: along the table of transitions only."""

from __future__ import annotations

from celadon.states import FINAL, TRANSITIONS, State
from tests.fence.checker.evidence import Evidence, Verdict

# A job is born in one of these; fence jobs are never adopted, so never dead at birth.
BORN = frozenset({State.SCHEDULED, State.WAITING, State.QUEUED})


def arrows(evidence: Evidence, verdict: Verdict) -> None:
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
