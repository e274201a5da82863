"""Pauses: what is paused is claimed by nobody until the pause ends by itself."""

from __future__ import annotations

from celadon.states import State
from tests.fence.checker.evidence import Evidence, Verdict

# A claim that looked just before the pause was committed may come just after it.
ON_THE_WAY_S = 0.1


def pauses(evidence: Evidence, verdict: Verdict) -> None:
    jobs = {job.id: job for job in evidence.jobs}
    for pause in evidence.named("paused"):
        kind, name = pause["gate"]
        for arrow in evidence.arrows:
            job = jobs.get(arrow.job_id)
            if job is None or arrow.new_state != State.RUNNING or arrow.old_state == State.RUNNING:
                continue
            of_gate = {"queue": job.queue, "job": job.kind, "tenant": job.tenant}[kind] == name
            if of_gate and pause["at"] + ON_THE_WAY_S < arrow.at < pause["until"]:
                verdict.object(
                    "ran_paused",
                    f"{job.label} ({job.id}) was claimed {arrow.at - pause['at']:.3f} s after {kind} {name} was "
                    f"paused, {pause['until'] - arrow.at:.3f} s before its end",
                )
