"""The judge is judged: for each promise a history that breaks it, and the judge must object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fence.checker import judge
from tests.fence.checker.evidence import Arrow, Effect, Evidence, Job, Verdict
from tests.fence.history import Event

COMMITTED = {"order": frozenset({"reserve", "invoice"})}
OUTSIDE = {"order": frozenset({"mail"})}

JOB = Job(id="j1", kind="order", label="7-1", state="succeeded", epoch=4, result_epoch=3)
# Claimed under epoch 1, lost, claimed again under epoch 3, finished.
ARROWS = (
    Arrow(job_id="j1", old_state=None, new_state="queued", old_epoch=None, new_epoch=0),
    Arrow(job_id="j1", old_state="queued", new_state="running", old_epoch=0, new_epoch=1),
    Arrow(job_id="j1", old_state="running", new_state="queued", old_epoch=1, new_epoch=2),
    Arrow(job_id="j1", old_state="queued", new_state="running", old_epoch=2, new_epoch=3),
    Arrow(job_id="j1", old_state="running", new_state="succeeded", old_epoch=3, new_epoch=4),
)
RESERVE = Effect(job_id="j1", label="7-1", step="reserve", epoch=1, seen_epoch=1, seen_state="running")
INVOICE = Effect(job_id="j1", label="7-1", step="invoice", epoch=3, seen_epoch=3, seen_state="running")
CALLING: Event = {"event": "calling", "label": "7-1", "key": None}
ACKNOWLEDGED: Event = {"event": "acknowledged", "label": "7-1", "key": None, "job_id": "j1"}
MAIL: Event = {"event": "outside", "label": "7-1", "step": "mail", "key": "k1"}

GOOD = Evidence(
    seed=7,
    committed=COMMITTED,
    outside=OUTSIDE,
    events=(CALLING, ACKNOWLEDGED, MAIL, MAIL),
    jobs=(JOB,),
    effects=(RESERVE, INVOICE),
    arrows=ARROWS,
    marks=(("j1", "reserve"), ("j1", "mail"), ("j1", "invoice")),
)


def test_a_history_in_which_all_is_well_is_clean_and_its_repeats_are_counted() -> None:
    verdict = judge(GOOD)
    assert verdict.clean, verdict.findings
    assert verdict.findings == []
    assert (verdict.submissions, verdict.acknowledged, verdict.jobs) == (1, 1, 1)
    assert verdict.outside_repeats == 1


def objects(verdict: Verdict, count: str, words: str) -> bool:
    return getattr(verdict, count) >= 1 and any(words in finding for finding in verdict.findings)


@pytest.mark.parametrize("state", ["queued", "running", "scheduled", "waiting", "parked", "dead", "cancelled"])
def test_an_acknowledged_job_that_did_not_succeed_is_lost(state: str) -> None:
    verdict = judge(replace(GOOD, jobs=(replace(JOB, state=state),)))
    assert not verdict.clean
    assert objects(verdict, "lost", state)


def test_an_acknowledged_job_without_a_row_is_lost() -> None:
    verdict = judge(replace(GOOD, jobs=(), effects=(), arrows=(), marks=()))
    assert objects(verdict, "lost", "has no row")
    assert not verdict.clean


def test_an_unacknowledged_job_in_the_ledger_must_end_as_well() -> None:
    verdict = judge(replace(GOOD, events=(CALLING, MAIL), jobs=(replace(JOB, state="queued"),)))
    assert objects(verdict, "lost", "ended as queued")


def test_a_success_without_its_committed_effect_is_a_loss() -> None:
    assert objects(judge(replace(GOOD, effects=(RESERVE,))), "lost", "without its effect invoice")


def test_a_success_without_its_outside_effect_is_a_loss() -> None:
    assert objects(judge(replace(GOOD, events=(CALLING, ACKNOWLEDGED))), "lost", "without doing mail")


def test_two_committed_effects_of_one_step_are_a_double_even_from_two_jobs() -> None:
    again = replace(RESERVE, job_id="j2")
    assert objects(judge(replace(GOOD, effects=(RESERVE, again, INVOICE))), "doubled", "committed reserve 2 times")


def test_a_step_marked_done_twice_is_a_double() -> None:
    verdict = judge(replace(GOOD, marks=(("j1", "reserve"), ("j1", "reserve"))))
    assert objects(verdict, "doubled", "marked done 2 times")


def test_one_label_in_two_jobs_is_a_double() -> None:
    verdict = judge(replace(GOOD, jobs=(JOB, replace(JOB, id="j2"))))
    assert objects(verdict, "doubled", "7-1 is 2 jobs")


def test_one_key_acknowledged_as_two_jobs_is_a_double() -> None:
    first = {**ACKNOWLEDGED, "key": "k"}
    second = {**first, "job_id": "j2", "label": "7-2"}
    verdict = judge(replace(GOOD, events=(CALLING, first, second, MAIL), jobs=(JOB, replace(JOB, id="j2"))))
    assert objects(verdict, "doubled", "the key k was acknowledged as 2 jobs")


@pytest.mark.parametrize(("epoch", "state"), [(2, "queued"), (3, "running"), (1, "cancelled"), (None, None)])
def test_an_effect_committed_after_its_claim_had_ended_is_stale(epoch: int | None, state: str | None) -> None:
    late = replace(RESERVE, seen_epoch=epoch, seen_state=state)
    assert objects(judge(replace(GOOD, effects=(late, INVOICE))), "stale_commits", "committed reserve under epoch 1")


def test_a_result_written_by_an_older_run_is_stale() -> None:
    verdict = judge(replace(GOOD, jobs=(replace(JOB, result_epoch=1),)))
    assert objects(verdict, "stale_commits", "holds the result of epoch 1, finished at 3")


def test_an_outside_step_that_changes_its_key_is_seen() -> None:
    other = {**MAIL, "key": "k2"}
    verdict = judge(replace(GOOD, events=(CALLING, ACKNOWLEDGED, MAIL, other)))
    assert objects(verdict, "key_changes", "did mail under 2 keys")


def test_one_key_for_two_outside_effects_is_seen() -> None:
    other = {**MAIL, "label": "7-2"}
    verdict = judge(replace(GOOD, events=(CALLING, ACKNOWLEDGED, MAIL, other)))
    assert objects(verdict, "key_changes", "the key k1 is shared")


def test_a_submission_that_fails_for_another_reason_than_the_ledger_is_an_error() -> None:
    away = {"event": "failed", "label": "7-1", "error": "LedgerUnavailable: it is away"}
    assert judge(replace(GOOD, events=(CALLING, away, MAIL))).clean
    broken = {**away, "error": "LimitExceeded: 10"}
    assert objects(judge(replace(GOOD, events=(CALLING, broken, MAIL))), "errors", "could not be submitted")


def test_a_rolled_back_submission_that_is_in_the_ledger_is_a_ghost() -> None:
    gone = {"event": "rolled_back", "label": "7-1", "job_id": "j1"}
    assert objects(judge(replace(GOOD, events=(CALLING, gone, MAIL))), "ghosts", "rolled back")


def test_a_job_and_what_its_caller_stored_with_it_stand_or_fall_together() -> None:
    joint = replace(GOOD, events=({**CALLING, "how": "session"}, ACKNOWLEDGED, MAIL), notes=("7-1",))
    assert judge(joint).clean
    assert objects(judge(replace(joint, notes=())), "ghosts", "is not there")
    assert objects(judge(replace(joint, notes=("7-1", "7-2"))), "lost", "stored with 7-2")


def test_a_refused_submission_that_runs_all_the_same_is_a_ghost() -> None:
    refused = {"event": "refused", "label": "7-1", "job_id": "j1"}
    assert objects(judge(replace(GOOD, events=(CALLING, refused, MAIL))), "ghosts", "was refused and yet")


def test_what_another_round_left_running_is_a_ghost() -> None:
    assert objects(judge(replace(GOOD, jobs=(replace(JOB, label="6-9"),))), "ghosts", "another round")
    stray = replace(RESERVE, job_id="gone", label="6-9")
    assert objects(judge(replace(GOOD, effects=(RESERVE, INVOICE, stray))), "ghosts", "has no row")


@pytest.mark.parametrize(
    ("arrow", "words"),
    [
        (replace(ARROWS[2], new_state="parked"), "no such arrow"),
        (replace(ARROWS[2], new_epoch=1), "the epoch must rise"),
        (replace(ARROWS[1], new_epoch=0), "the epoch must rise"),
        (replace(ARROWS[2], new_state="running"), "claimed while running"),
        (replace(ARROWS[0], new_state="running"), "born wrongly"),
        (replace(ARROWS[4], old_state="succeeded"), "ended once more"),
        (replace(ARROWS[3], old_epoch=1), "not where it was left"),
    ],
)
def test_an_arrow_that_the_table_does_not_allow_is_seen(arrow: Arrow, words: str) -> None:
    same = [a.old_state == arrow.old_state and a.new_epoch == arrow.new_epoch for a in ARROWS]
    place = same.index(True) if any(same) else 2 if arrow.old_epoch == 1 else 1
    arrows = [*ARROWS[:place], arrow, *ARROWS[place + 1 :]]
    assert objects(judge(replace(GOOD, arrows=arrows)), "bad_arrows", words)


def test_a_row_changed_behind_the_triggers_is_seen() -> None:
    assert objects(judge(replace(GOOD, jobs=(replace(JOB, epoch=6),))), "bad_arrows", "last seen")
