"""The judge of schedules is judged: for each rule a history that breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.fence.checker import judge
from tests.fence.checker.evidence import Arrow, Evidence, Job, Schedule, Verdict
from tests.fence.history import Event

FIRST = 1000.0


class Told:
    """A round of one schedule that is due at 1000, 1001, 1002 and 1003, told firing by firing."""

    def __init__(self, missed: str = "latest", overlap: str = "allow") -> None:
        self.schedule = Schedule(name="7-s", missed=missed, overlap=overlap, first=FIRST, ends=FIRST + 3.5)
        self.jobs: list[Job] = []
        self.arrows: list[Arrow] = []
        self.events: list[Event] = []

    def fired(self, due: float, born: float, over: float, state: str = "succeeded", schedule: str = "7-s") -> None:
        job_id = f"j{len(self.jobs)}"
        facts: dict[str, Any] = {"kind": "tick", "label": f"7-s@{job_id}", "epoch": 2}
        facts["result_epoch"] = 1 if state == "succeeded" else None
        self.jobs.append(Job(id=job_id, schedule=schedule, due=due, state=state, **facts))
        self.arrows += [
            Arrow(job_id=job_id, old_state=None, new_state="queued", old_epoch=None, new_epoch=0, at=born),
            Arrow(job_id=job_id, old_state="queued", new_state="running", old_epoch=0, new_epoch=1, at=born),
            Arrow(job_id=job_id, old_state="running", new_state=state, old_epoch=1, new_epoch=2, at=over),
        ]

    def all_fired(self, but: tuple[float, ...] = (), lasts: float = 0.3) -> None:
        for due in (FIRST, FIRST + 1, FIRST + 2, FIRST + 3):
            if due not in but:
                self.fired(due, due + 0.1, due + 0.1 + lasts)

    def looked(self, since: float, at: float, outrun: Sequence[str] = ()) -> None:
        self.events.append({"event": "looked", "since": since, "at": at, "outrun": outrun})

    def verdict(self) -> Verdict:
        return judge(
            Evidence(
                seed=7,
                committed={"tick": frozenset()},
                outside={"tick": frozenset()},
                events=self.events,
                jobs=self.jobs,
                effects=(),
                # As the database would have counted them.
                arrows=sorted(self.arrows, key=lambda arrow: arrow.at),
                schedules=(self.schedule,),
            )
        )


@pytest.mark.parametrize(
    ("missed", "overlap"),
    [("all", "allow"), ("latest", "allow"), ("latest", "skip"), ("all", "queue"), ("latest", "replace")],
)
def test_a_schedule_that_fired_once_for_each_due_time_is_clean(missed: str, overlap: str) -> None:
    told = Told(missed, overlap)
    told.all_fired()
    told.looked(FIRST + 0.05, FIRST + 0.1)
    verdict = told.verdict()
    assert verdict.findings == []
    assert (verdict.due_times, verdict.due_times_left_out) == (4, 0)


def test_a_due_time_that_fired_twice_is_seen() -> None:
    told = Told()
    told.all_fired()
    told.fired(FIRST + 1, FIRST + 1.2, FIRST + 1.3)
    assert objects(told.verdict(), "misfired", "fired 2 times for its due time 1001.000")


def test_a_firing_for_no_due_time_is_seen_also_after_the_schedule_has_ended() -> None:
    told = Told()
    told.all_fired()
    told.fired(FIRST + 1.5, FIRST + 1.6, FIRST + 1.7)
    told.fired(FIRST + 4, FIRST + 4.1, FIRST + 4.2)
    verdict = told.verdict()
    assert objects(verdict, "misfired", "1001.500, which is no due time")
    assert objects(verdict, "misfired", "1004.000, which is no due time")


def test_a_firing_before_its_due_time_is_seen() -> None:
    told = Told()
    told.all_fired(but=(FIRST + 2,))
    told.fired(FIRST + 2, FIRST + 1.9, FIRST + 2.5)
    assert objects(told.verdict(), "misfired", "0.100 s before its due time")


def test_jobs_of_a_schedule_that_is_not_of_this_round_are_ghosts() -> None:
    told = Told()
    told.all_fired()
    told.fired(FIRST, FIRST + 0.1, FIRST + 0.2, schedule="6-s")
    assert objects(told.verdict(), "ghosts", "the schedule 6-s")


@pytest.mark.parametrize("overlap", ["allow", "queue"])
def test_with_all_no_due_time_may_be_left_out_whoever_was_there(overlap: str) -> None:
    told = Told("all", overlap)
    told.all_fired(but=(FIRST + 1,))
    verdict = told.verdict()
    assert objects(verdict, "missed", "1001.000 was left out, and none may be")
    assert (verdict.missed, verdict.due_times_left_out) == (1, 1)


def test_with_latest_a_due_time_is_left_out_only_if_the_next_had_come_before_anybody_looked() -> None:
    told = Told()
    told.all_fired(but=(FIRST + 1,))
    told.looked(FIRST + 0.9, FIRST + 1.1)  # It had begun to look before it was due,
    told.looked(FIRST + 1.5, FIRST + 2.1)  # and was through only when the next one was,
    told.looked(FIRST + 1.5, FIRST + 1.6, outrun=["7-s"])  # or somebody else was at it.
    verdict = told.verdict()
    assert verdict.clean
    assert verdict.due_times_left_out == 1
    told.looked(FIRST + 1.5, FIRST + 1.6)
    assert objects(told.verdict(), "missed", "1001.000 was left out, though a scheduler looked in time")


def test_the_last_due_time_is_not_left_out_for_a_later_one() -> None:
    told = Told()
    told.all_fired(but=(FIRST + 3,))
    assert objects(told.verdict(), "missed", "its last due time 1003.000")


def test_with_skip_a_due_time_is_left_out_if_the_job_before_it_had_not_ended() -> None:
    told = Told(overlap="skip")
    told.fired(FIRST, FIRST + 0.1, FIRST + 1.4)
    told.fired(FIRST + 2, FIRST + 2.1, FIRST + 3.2)
    for due in range(4):
        told.looked(FIRST + due + 0.01, FIRST + due + 0.2)
    assert told.verdict().clean


def test_with_skip_a_due_time_is_not_left_out_if_the_job_before_it_had_ended() -> None:
    told = Told(overlap="skip")
    told.all_fired(but=(FIRST + 1,))
    told.looked(FIRST + 1.01, FIRST + 1.2)
    assert objects(told.verdict(), "missed", "1001.000")


@pytest.mark.parametrize(("missed", "overlap"), [("latest", "skip"), ("all", "queue"), ("latest", "replace")])
def test_jobs_that_must_not_overlap_and_do_are_seen(missed: str, overlap: str) -> None:
    told = Told(missed, overlap)
    told.all_fired(lasts=1.05)
    assert objects(told.verdict(), "misfired", "before the job of 1000.000, j0, had ended")


def test_with_replace_the_next_one_fires_when_the_one_before_has_ended() -> None:
    told = Told(overlap="replace")
    told.fired(FIRST, FIRST + 0.1, FIRST + 1.2, state="cancelled")
    told.fired(FIRST + 1, FIRST + 1.3, FIRST + 3.2, state="cancelled")  # It took long to give way: 1002 was overtaken.
    told.fired(FIRST + 3, FIRST + 3.3, FIRST + 4.4)
    for due in range(4):
        told.looked(FIRST + due + 0.01, FIRST + due + 0.2)
    assert told.verdict().clean
    told.looked(FIRST + 3.25, FIRST + 3.28)  # The end that it waited for had not been committed yet.
    assert told.verdict().clean


def test_with_replace_a_due_time_is_not_left_out_once_the_one_before_has_ended() -> None:
    told = Told(overlap="replace")
    told.fired(FIRST, FIRST + 0.1, FIRST + 1.2, state="cancelled")
    told.fired(FIRST + 2, FIRST + 2.1, FIRST + 2.2)
    told.fired(FIRST + 3, FIRST + 3.1, FIRST + 3.2)
    told.looked(FIRST + 1.55, FIRST + 1.6)
    assert objects(told.verdict(), "missed", "1001.000")


@pytest.mark.parametrize(("due", "over"), [(FIRST, FIRST + 0.9), (FIRST + 3, FIRST + 4.2)])
def test_nobody_is_replaced_before_the_next_is_due_and_nobody_by_none(due: float, over: float) -> None:
    told = Told(overlap="replace")
    told.all_fired(but=(due,))
    told.fired(due, due + 0.1, over, state="cancelled")
    assert objects(told.verdict(), "misfired", "replaced j3")


def test_a_job_that_is_cancelled_though_its_schedule_replaces_nobody_is_lost() -> None:
    told = Told(overlap="skip")
    told.all_fired(but=(FIRST,))
    told.fired(FIRST, FIRST + 0.1, FIRST + 0.9, state="cancelled")
    assert objects(told.verdict(), "lost", "is cancelled")


def objects(verdict: Verdict, count: str, words: str) -> bool:
    return getattr(verdict, count) >= 1 and any(words in finding for finding in verdict.findings)
