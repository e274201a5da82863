"""The judge of limits, pauses, poison and what hangs is judged: for each rule a history that breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.fence.checker import judge
from tests.fence.checker.evidence import Arrow, Evidence, Job, Limit, Verdict
from tests.fence.history import Event

BOTH = (
    Limit(kind="job", name="limited", concurrency=2),
    Limit(kind="job", name="limited", starts=3, per_s=1.0),
)


class Told:
    """A round told run by run; times are seconds from its beginning."""

    def __init__(self, *limits: Limit) -> None:
        self.limits = limits
        self.jobs: list[Job] = []
        self.arrows: list[Arrow] = []
        self.events: list[Event] = []

    def run(
        self,
        begins: float,
        ends: float | None,
        *,
        gone: float | None = None,
        body: bool = True,
        worker: str = "w1",
        **facts: Any,
    ) -> None:
        """A job that is claimed just before its first line at `begins`, and ends.

        ends: when its function does; None: it never said so. gone: when its claim is taken away; None: at its end.
        """
        place = len(self.jobs)
        job_id, over = f"j{place}", gone if gone is not None else ends
        assert over is not None
        self.jobs.append(
            Job(id=job_id, kind=facts.pop("kind", "limited"), label=f"7-{place}", state="succeeded", epoch=2, **facts)
        )
        self.arrows += [
            Arrow(job_id=job_id, old_state=None, new_state="queued", old_epoch=None, new_epoch=0, at=begins - 0.02),
            Arrow(job_id=job_id, old_state="queued", new_state="running", old_epoch=0, new_epoch=1, at=begins - 0.01),
            Arrow(job_id=job_id, old_state="running", new_state="succeeded", old_epoch=1, new_epoch=2, at=over),
        ]
        if body:
            self.events.append({"event": "start", "job_id": job_id, "epoch": 1, "at": begins, "worker": worker})
            if ends is not None:
                self.events.append({"event": "ended", "job_id": job_id, "epoch": 1, "at": ends})

    def pause(self, kind: str, name: str, at: float, until: float) -> None:
        self.events.append({"event": "paused", "gate": [kind, name], "at": at, "until": until})

    def verdict(self) -> Verdict:
        # In the order in which a database that keeps the limits would have made the changes; births before all.
        arrows = sorted(self.arrows, key=lambda arrow: (arrow.at, arrow.old_state != "running"))
        return judge(_evidence(self.events, self.jobs, arrows, self.limits))


def _evidence(
    events: Sequence[Event], jobs: Sequence[Job], arrows: Sequence[Arrow], limits: Sequence[Limit] = ()
) -> Evidence:
    nothing = {job.kind: frozenset[str]() for job in jobs}
    # Results are another rule's, so these say what their rows do.
    jobs = [replace(job, result_epoch=1) if job.state == "succeeded" else job for job in jobs]
    return Evidence(
        seed=7,
        committed=nothing,
        outside=nothing,
        poison=frozenset({"poison"}),
        events=events,
        jobs=jobs,
        effects=(),
        arrows=arrows,
        limits=limits,
    )


def test_what_keeps_its_limits_is_clean_and_it_is_counted_how_often_they_were_reached() -> None:
    told = Told(*BOTH)
    told.run(0.0, 0.2)
    told.run(0.1, 0.3)
    told.run(0.3, 0.5)
    told.run(1.0, 1.2)  # A full second after the first, so the window is free again.
    verdict = told.verdict()
    assert verdict.findings == []
    assert verdict.limited_starts == 4
    assert verdict.limits_filled == 3  # Two beside one another, and three starts in two of the windows.


def test_one_start_too_many_in_any_window_is_seen() -> None:
    told = Told(*BOTH)
    for begins in (0.0, 0.4, 0.8, 0.9999):
        told.run(begins, begins + 0.1)
    assert objects(told.verdict(), "over_limit", "4 starts in 0.9999 s")


def test_a_window_counts_runs_that_were_cut_off_too() -> None:
    told = Told(Limit(kind="job", name="limited", starts=1, per_s=1.0))
    told.run(0.0, None, gone=0.1)
    told.run(0.5, 0.6)
    assert objects(told.verdict(), "over_limit", "2 starts in 0.5000 s")


def test_one_too_many_at_a_time_is_seen() -> None:
    told = Told(*BOTH)
    told.run(0.0, 0.5)
    told.run(0.1, 0.5)
    told.run(0.2, 0.5)
    assert objects(told.verdict(), "over_limit", "7-2 began beside 7-0, 7-1; 2 may run at a time")


def test_one_too_many_by_the_rows_is_seen_though_its_function_never_began() -> None:
    told = Told(Limit(kind="job", name="limited", concurrency=1))
    told.run(0.0, 0.5)
    told.run(0.2, 0.4, body=False)
    verdict = told.verdict()
    assert objects(verdict, "over_limit", "7-1 was claimed as number 2; 1 may run")
    assert verdict.over_limit == 1


def test_a_stale_run_that_goes_on_without_its_claim_holds_no_place() -> None:
    told = Told(Limit(kind="job", name="limited", concurrency=1))
    told.run(0.0, 9.0, gone=1.0)  # Stopped beyond its lease; the ledger gave its place to the next.
    told.run(1.1, 1.3)
    assert told.verdict().clean


def test_a_dead_run_holds_its_place_until_the_ledger_has_heard_of_it() -> None:
    told = Told(Limit(kind="job", name="limited", concurrency=1))
    told.run(0.0, None, gone=1.0)
    told.run(0.5, 0.6)
    assert objects(told.verdict(), "over_limit", "7-1 began beside 7-0")


def test_each_tenant_has_its_own_limit_and_those_without_one_are_a_group() -> None:
    each = Limit(kind="queue", name="limited", concurrency=1, starts=1, per_s=1.0, each="tenant")
    told = Told(each)
    for tenant in ("a", "b", None):
        told.run(0.0, 0.5, queue="limited", tenant=tenant)
    assert told.verdict().clean
    told.run(0.2, 0.4, queue="limited")
    assert objects(told.verdict(), "over_limit", "queue limited nobody")


def test_each_worker_has_its_own_limit() -> None:
    told = Told(Limit(kind="job", name="limited", concurrency=1, each="worker"))
    told.run(0.0, 0.5, worker="w1")
    told.run(0.1, 0.5, worker="w2")
    assert told.verdict().clean
    told.run(0.2, 0.4, worker="w2")
    assert objects(told.verdict(), "over_limit", "job limited w2")


def test_a_limit_holds_for_its_own_jobs_only() -> None:
    told = Told(Limit(kind="tenant", name="small", concurrency=1))
    told.run(0.0, 0.5, tenant="small")
    told.run(0.1, 0.5, tenant="large")
    told.run(0.1, 0.5)
    verdict = told.verdict()
    assert verdict.clean
    assert verdict.limited_starts == 1


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", "limited"), ("tenant", "small")])
def test_what_is_claimed_in_a_pause_is_seen_and_what_was_on_its_way_or_waited_for_the_end_is_not(
    kind: str, name: str
) -> None:
    told = Told()
    told.pause(kind, name, 0.0, 1.0)
    told.run(0.05, 0.3, tenant="small")
    told.run(1.02, 1.2, tenant="small")
    told.run(0.5, 0.7, tenant="large", queue="other", kind="other")
    assert told.verdict().clean
    told.run(0.5, 0.7, tenant="small")
    assert objects(told.verdict(), "ran_paused", f"after {kind} {name} was paused, 0.510 s before its end")


def poison(state: str, reason: str, runs: int) -> Verdict:
    job = Job(id="j1", kind="poison", label="7-1", state=state, epoch=1, reason=reason)
    arrow = Arrow(job_id="j1", old_state=None, new_state="queued", old_epoch=None, new_epoch=0)
    starts = [{"event": "start", "job_id": "j1", "epoch": 2 * run + 1, "at": float(run)} for run in range(runs)]
    return judge(_evidence(starts, [job], [arrow]))


def test_who_kills_its_workers_has_to_be_dead_by_the_crash_limit() -> None:
    verdict = poison("dead", "CrashLimit: 3 times", 4)
    assert (verdict.misjudged, verdict.lost, verdict.condemned) == (0, 0, 1)
    assert objects(poison("succeeded", "None", 1), "misjudged", "is succeeded")
    assert objects(poison("dead", "ValueError: no", 4), "misjudged", "is dead: ValueError")
    assert objects(poison("dead", "CrashLimit: 3 times", 17), "misjudged", "killed 17 processes")
    assert objects(poison("queued", "None", 3), "lost", "ended as queued")


def test_nobody_else_may_be_dead_by_it() -> None:
    job = Job(id="j1", kind="limited", label="7-1", state="dead", epoch=1, reason="CrashLimit: 3 times")
    arrow = Arrow(job_id="j1", old_state=None, new_state="queued", old_epoch=None, new_epoch=0)
    assert objects(judge(_evidence((), [job], [arrow])), "lost", "is dead: CrashLimit")


def test_a_process_that_hangs_has_to_be_replaced_soon() -> None:
    hung: Event = {"event": "fault", "pid": 7, "at": 1.0, "edge": "default.poll", "action": "hang"}
    assert judge(_evidence([hung, {"event": "gone", "who": 7, "at": 5.0}], (), ())).clean
    assert objects(judge(_evidence([hung], (), ())), "stuck", "process 7 hung")
    assert objects(judge(_evidence([hung, {"event": "gone", "who": 7, "at": 62.0}], (), ())), "stuck", "default.poll")


def objects(verdict: Verdict, count: str, words: str) -> bool:
    return getattr(verdict, count) >= 1 and any(words in finding for finding in verdict.findings)
