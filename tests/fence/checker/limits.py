"""Limits: never more starts than allowed in any window, and never more at a time.

A run starts with the first line of its job's function, as it told the history itself. It counts as running until it
ends or loses its claim, whichever is first. So a run that was stopped beyond its lease and goes on afterwards holds no
place: the ledger can't tell it from one that is dead, and must give its place to another, or it would never be free
again; what such a run can't do any more is commit (that is asked elsewhere). A dead run's place is taken until the
ledger has heard of its death, and who holds one by the rows alone counts too: its function might begin at any moment.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from celadon.states import State
from tests.fence.checker.evidence import Evidence, Job, Limit, Verdict


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: of which job, by which worker, and from when to when it was one that holds its claim."""

    job: Job
    worker: str
    began: float
    ended: float


def limits(evidence: Evidence, verdict: Verdict) -> None:
    runs = _runs(evidence)
    verdict.limited_starts = sum(any(_holds_for(limit, run.job) for limit in evidence.limits) for run in runs)
    for limit in evidence.limits:
        by_key: dict[str, list[Run]] = defaultdict(list)
        for run in runs:
            if _holds_for(limit, run.job):
                by_key[_key(limit, run)].append(run)
        for key, of_key in by_key.items():
            if limit.starts is not None:
                _window(limit, limit.starts, key, of_key, verdict)
            if limit.concurrency is not None:
                _at_a_time(limit, limit.concurrency, key, of_key, verdict)
        if limit.concurrency is not None and limit.each != "worker":  # A row's changes don't say whose they are.
            _by_rows(limit, limit.concurrency, evidence, verdict)


def _holds_for(limit: Limit, job: Job) -> bool:
    return {"queue": job.queue, "job": job.kind, "tenant": job.tenant}[limit.kind] == limit.name


def _key(limit: Limit, run: Run) -> str:
    return {"all": "", "tenant": run.job.tenant or "nobody", "worker": run.worker}[limit.each]


def _runs(evidence: Evidence) -> list[Run]:
    """All runs, in the order of their starts."""
    jobs = {job.id: job for job in evidence.jobs}
    over = {(a.job_id, a.old_epoch): a.at for a in evidence.arrows if a.old_state == State.RUNNING}
    for event in evidence.named("ended"):
        claim = event["job_id"], event["epoch"]
        over[claim] = min(event["at"], over.get(claim, inf))
    runs = [
        Run(
            job=jobs[event["job_id"]],
            worker=event.get("worker", ""),
            began=event["at"],
            ended=over.get((event["job_id"], event["epoch"]), inf),
        )
        for event in evidence.named("start")
        if event["job_id"] in jobs
    ]
    return sorted(runs, key=lambda run: run.began)


def _window(limit: Limit, starts: int, key: str, runs: Sequence[Run], verdict: Verdict) -> None:
    times = [run.began for run in runs]
    for first, last in zip(runs, runs[starts:], strict=False):
        span = last.began - first.began
        if span < limit.per_s:
            verdict.object(
                "over_limit",
                f"{limit} {key}: {starts + 1} starts in {span:.4f} s, from {first.job.label} to {last.job.label}; "
                f"{starts} are allowed in {limit.per_s:g} s",
            )
    full = zip(times, times[starts - 1 :], strict=False)
    verdict.limits_filled += sum(last - first < limit.per_s for first, last in full)


def _at_a_time(limit: Limit, most: int, key: str, runs: Sequence[Run], verdict: Verdict) -> None:
    for place, run in enumerate(runs):
        beside = [other for other in runs[:place] if other.ended > run.began]
        if len(beside) >= most and run.ended > run.began:  # One that had lost its claim by its first line runs no more.
            others = ", ".join(other.job.label for other in beside)
            verdict.object(
                "over_limit", f"{limit} {key}: {run.job.label} began beside {others}; {most} may run at a time"
            )
        verdict.limits_filled += len(beside) == most - 1


def _by_rows(limit: Limit, most: int, evidence: Evidence, verdict: Verdict) -> None:
    """The same by the rows: of what one change was the cause of, the other stands before it."""
    jobs = {job.id: job for job in evidence.jobs}
    running: Counter[str] = Counter()
    for arrow in evidence.arrows:
        job = jobs.get(arrow.job_id)
        if job is None or not _holds_for(limit, job):
            continue
        key = (job.tenant or "nobody") if limit.each == "tenant" else ""
        if arrow.old_state == State.RUNNING:
            running[key] -= 1
        if arrow.new_state == State.RUNNING:
            running[key] += 1
            if running[key] > most:
                verdict.object(
                    "over_limit", f"{limit} {key}: {job.label} was claimed as number {running[key]}; {most} may run"
                )
