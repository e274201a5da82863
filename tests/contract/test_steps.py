"""Step marks in the ledger: effect and mark commit together, a stale run commits neither, a done step is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from celadon import JobView, Permanent, Steps, find, submit
from celadon.errors import LostClaim
from celadon.jobs import Claim
from celadon.keeper import Running
from celadon.ledger import claims, marks, recovery
from celadon.ledger.db import translated
from celadon.ledger.tables import workers
from celadon.run import Runner, run_job
from celadon.states import Outcome, State
from tests.contract.given import (
    LEASE_S,
    ON_POSTGRESQL,
    OTHER,
    WORKER,
    a_claim,
    let_its_lease_run_out,
    row,
)
from tests.contract.jobs import SCRIPT, note_table, notes, write_note


@pytest.fixture(autouse=True)
def _tables(ledger: str) -> Iterator[None]:
    note_table()
    yield
    SCRIPT.clear()


def steps_of(claim: Claim) -> Steps:
    return Steps(Running(claim=claim, lease_s=LEASE_S, deadline=time.monotonic() + 60))


def taken_over(claim: Claim) -> Claim:
    """Its lease ran out, and another worker has it."""
    let_its_lease_run_out(claim.job_id)
    recovery.reap()
    return a_claim(claim.job_id, worker=OTHER)


def test_the_effect_of_a_step_and_its_mark_are_committed_together():
    claim = a_claim()

    assert steps_of(claim).run("note", write_note, "mine") == "mine"

    assert notes() == ["mine"]
    view = marks.step_views(claim.scope)["note"]
    assert (view.state, view.result, view.tries, view.error) == ("done", "mine", 1, None)
    assert view.started_at <= view.last_attempt_at <= view.finished_at


def test_a_step_that_fails_leaves_no_effect_but_its_error():
    claim = a_claim()

    def half(own: Any) -> None:
        write_note(own, "mine")
        raise ValueError("the other half")

    with pytest.raises(ValueError, match="the other half"):
        steps_of(claim).run("note", half)

    assert notes() == []
    view = marks.step_views(claim.scope)["note"]
    assert (view.state, view.error, view.finished_at) == ("failed", "ValueError: the other half", None)


def test_a_step_that_failed_is_tried_again_by_the_next_run_and_its_error_stays_readable():
    first = a_claim()
    with pytest.raises(ZeroDivisionError):
        steps_of(first).run("note", lambda own: 1 / 0)
    claims.give_back(first)

    second = a_claim(first.job_id)
    steps_of(second).run("note", write_note, "mine")

    view = marks.step_views(first.scope)["note"]
    assert (view.state, view.tries, view.result) == ("done", 2, "mine")
    assert view.error is not None


def test_a_done_step_gives_its_recorded_result_and_does_not_run_again():
    first = a_claim()
    steps_of(first).run("note", write_note, "mine")
    claims.give_back(first)

    assert steps_of(a_claim(first.job_id)).run("note", write_note, "again") == "mine"

    assert notes() == ["mine"]


def test_jobs_of_one_business_key_share_their_steps():
    one, two = a_claim(scope="order:1"), a_claim(scope="order:1")

    steps_of(one).run("note", write_note, "mine")

    assert steps_of(two).run("note", write_note, "again") == "mine"
    assert steps_of(two).done("note")
    assert not steps_of(two).done("other")


def test_a_run_that_lost_its_claim_during_an_outside_step_records_nothing():
    claim = a_claim()

    def send(key: str) -> str:
        taken_over(claim)
        return key

    with pytest.raises(LostClaim):
        steps_of(claim).run("mail", send, outside=True, record=lambda own, key: write_note(own, "stale"))

    assert notes() == []
    assert marks.step_views(claim.scope)["mail"].state == "running"
    assert (row(claim.job_id).state, row(claim.job_id).claimed_by) == (State.RUNNING, OTHER)


@ON_POSTGRESQL
def test_a_run_that_lost_its_claim_during_a_step_commits_no_effect():
    claim = a_claim()

    def effect(own: Any) -> None:
        write_note(own, "stale")
        taken_over(claim)

    with pytest.raises(LostClaim):
        steps_of(claim).run("note", effect)

    assert notes() == []
    assert marks.step_views(claim.scope)["note"].state == "running"


def test_a_failing_step_of_a_lost_run_does_not_write_its_error_either():
    claim = a_claim()

    def send(key: str) -> str:
        taken_over(claim)
        raise OSError("mail server is away")

    with pytest.raises(LostClaim):
        steps_of(claim).run("mail", send, outside=True)

    assert marks.step_views(claim.scope)["mail"].error is None


def test_an_outside_step_carries_the_same_key_at_every_try_and_another_for_another_job():
    keys: list[str] = []

    def send(key: str) -> None:
        keys.append(key)
        raise OSError("mail server is away")

    first = a_claim()
    for claim in (first, None, a_claim()):
        if claim is None:
            claims.give_back(first)
            claim = a_claim(first.job_id)
        with pytest.raises(OSError, match="away"):
            steps_of(claim).run("mail", send, outside=True)

    assert keys[0] == keys[1] != keys[2]


def test_no_transaction_is_open_while_an_outside_step_runs():
    claim = a_claim()

    def send(key: str) -> None:
        # On SQLite another writer would have to wait for an open transaction, for longer than this test may last.
        claims.renew([(claim.job_id, claim.epoch)], LEASE_S)
        a_claim()

    steps_of(claim).run("mail", send, outside=True)

    assert marks.step_views(claim.scope)["mail"].state == "done"


@ON_POSTGRESQL
def test_two_runs_of_one_business_key_do_a_step_one_after_the_other():
    one, two = a_claim(scope="order:1"), a_claim(scope="order:1")
    inside, go_on = Event(), Event()
    results: list[object] = []

    def slow(own: Any) -> str:
        inside.set()
        go_on.wait(10)
        return write_note(own, "first")

    def second() -> None:
        inside.wait(10)
        results.append(steps_of(two).run("note", write_note, "second"))

    late = Thread(target=second)
    early = Thread(target=lambda: results.append(steps_of(one).run("note", slow)))
    early.start()
    late.start()
    inside.wait(10)
    # The job's own row is free all the while: renewal does not starve.
    assert claims.renew([(one.job_id, one.epoch)], LEASE_S) == set()
    go_on.set()
    early.join(10)
    late.join(10)

    assert results == ["first", "first"]
    assert notes() == ["first"]


def test_a_sleep_remembers_its_first_wake_time_and_is_slept_once():
    claim = a_claim()

    first = marks.start_sleep(claim, "nap", "key", 60, LEASE_S)
    again = marks.start_sleep(claim, "nap", "key", 3600, LEASE_S)

    assert first.state == again.state == "asleep"
    assert first.wake_at == again.wake_at
    assert 55 < (first.wake_at - first.now).total_seconds() <= 60


@pytest.mark.parametrize(
    "statement", ["SELECT full_name, locked_at, disk FROM notes", "SELECT * FROM a_table_of_mine_that_is_missing"]
)
def test_an_sql_error_of_a_step_is_a_failure_of_the_job_not_of_the_ledger(statement):
    # Given a step whose own SQL is wrong, in words that a database that is away might use.
    view = run_to_its_end(lambda steps: steps.run("note", lambda own: own.execute(text(statement)).all()))

    # Then a try is burnt: given back unburnt, it would come back for ever.
    assert (view.state, view.attempt) == (State.SCHEDULED, 1)
    assert [attempt.outcome for attempt in view.attempts] == [Outcome.FAILED]
    assert [(step.name, step.state) for step in view.steps] == [("note", "failed")]


def test_an_sql_error_in_the_record_of_an_outside_step_is_a_failure_too():
    def record(own: Any, _: None) -> None:
        own.execute(text("INSERT INTO a_table_of_mine_that_is_missing VALUES (1)"))

    view = run_to_its_end(lambda steps: steps.run("mail", lambda key: None, outside=True, record=record))

    assert (view.state, view.attempt) == (State.SCHEDULED, 1)
    assert [attempt.outcome for attempt in view.attempts] == [Outcome.FAILED]


def run_to_its_end(script: Callable[[Steps], object]) -> JobView:
    SCRIPT.append(script)
    receipt = submit("contract.scripted", {}, queue="data_sync")
    run_job(receipt.job_id, Runner(worker=WORKER))
    view = find(receipt.job_id)
    assert view is not None
    return view


def test_a_step_that_can_not_reach_the_ledger_through_the_platform_is_no_failure_of_the_job():
    # Given a step that asks the platform for something while the platform's table is out of reach.
    def ask(own: Any) -> None:
        own.execute(text("ALTER TABLE workers RENAME TO workers_elsewhere"))
        with translated():
            own.execute(select(workers)).all()

    view = run_to_its_end(lambda steps: steps.run("ask", ask))

    # Then the run departs unburnt, for a little later: at once would be a loop without a pause.
    assert (view.state, view.attempt) == (State.SCHEDULED, 0)
    assert [attempt.outcome for attempt in view.attempts] == [Outcome.INTERRUPTED]
    kept = row(view.id)
    assert 1 < (kept.run_at - view.attempts[0].ended_at).total_seconds() < 5


def test_savepoints_in_a_step_come_and_go_and_its_effect_is_what_they_leave():
    claim = a_claim()

    def careful(own: Any) -> str:
        write_note(own, "before")
        with own.begin_nested():
            write_note(own, "kept")
        with suppress(IntegrityError), own.begin_nested():
            write_note(own, "undone")
            write_note(own, "undone")
        undone = own.begin_nested()
        write_note(own, "undone too")
        undone.rollback()
        return write_note(own, "after")

    assert steps_of(claim).run("note", careful) == "after"

    assert notes() == ["after", "before", "kept"]
    assert marks.step_views(claim.scope)["note"].state == "done"


def test_savepoints_in_the_record_of_an_outside_step_come_and_go_too():
    claim = a_claim()

    def record(own: Any, word: str) -> None:
        with own.begin_nested():
            write_note(own, word)

    steps_of(claim).run("mail", lambda key: "sent", outside=True, record=record)

    assert notes() == ["sent"]
    assert marks.step_views(claim.scope)["mail"].state == "done"


@pytest.mark.parametrize("then", [None, "again"], ids=["at the end", "and written again"])
def test_a_rollback_of_the_whole_transaction_in_a_step_is_refused_for_good(then):
    claim = a_claim()

    def undo(own: Any) -> None:
        write_note(own, "mine")
        own.rollback()
        if then:
            write_note(own, then)

    # Else what was undone would be marked as done, and what came after it be fenced by nothing.
    with pytest.raises(Permanent, match=r"step 'note' called session.rollback\(\)"):
        steps_of(claim).run("note", undo)

    assert notes() == []
    assert marks.step_views(claim.scope)["note"].state == "failed"


def test_a_commit_inside_a_step_is_refused_and_nothing_of_it_stays():
    claim = a_claim()

    def hasty(own: Any) -> None:
        write_note(own, "mine")
        own.commit()

    with pytest.raises(Permanent, match=r"step 'note' called session.commit\(\)"):
        steps_of(claim).run("note", hasty)

    assert notes() == []
    assert marks.step_views(claim.scope)["note"].state == "failed"
