"""The rules of steps, as a job's function meets them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from celadon import Permanent, Steps
from celadon.errors import LedgerUnavailable, LostClaim, StepNameUsedTwice, StepsFailed
from celadon.keeper import Running
from celadon.ledger import claims, marks
from celadon.steps import idempotency_key
from tests.contract.given import LEASE_S, a_claim


class Hopeless(Exception):
    """Declared as permanent."""


@pytest.fixture
def run(ledger: str) -> Running:
    return Running(claim=a_claim(), lease_s=LEASE_S, deadline=time.monotonic() + 60)


@pytest.fixture
def steps(run: Running) -> Steps:
    return Steps(run, permanent=(Hopeless,))


def fail(error: Exception) -> Any:
    def step(_own: Any) -> None:
        raise error

    return step


@pytest.mark.parametrize("again", ["run", "sleep"])
def test_a_name_used_twice_in_one_run_is_an_error_for_good(steps, again):
    steps.run("mail", lambda own: None)

    with pytest.raises(StepNameUsedTwice, match="Step 'mail' is used twice in one run") as error:
        steps.run("mail", lambda own: None) if again == "run" else steps.sleep("mail", 1)
    assert isinstance(error.value, Permanent)


def test_arguments_are_handed_on(steps):
    def add(own: Any, a: int, *, b: int) -> int:
        return a + b

    assert steps.run("add", add, 1, b=2) == 3
    assert steps.run("mail", lambda a, *, key, b: [a, b, bool(key)], 1, b=2, outside=True) == [1, 2, True]


@pytest.mark.parametrize("outside", [False, True])
def test_a_result_that_is_no_number_is_refused_for_good(steps, outside):
    with pytest.raises(Permanent, match="'odd' returned float, which JSON can't hold"):
        steps.run("odd", lambda *_, **__: float("nan"), outside=outside)

    assert not steps.done("odd")


@pytest.mark.parametrize("outside", [False, True])
def test_a_result_that_is_no_json_is_refused_for_good_and_the_step_is_not_done(steps, outside):
    with pytest.raises(Permanent, match="'odd' returned set, which JSON can't hold"):
        steps.run("odd", lambda *_, **__: {1}, outside=outside)

    assert not steps.done("odd")


def test_a_commit_in_the_record_of_an_outside_step_is_refused(steps):
    with pytest.raises(Permanent, match=r"session.commit\(\)"):
        steps.run("mail", lambda key: None, outside=True, record=lambda own, _: own.commit())

    assert not steps.done("mail")


def test_the_key_of_an_outside_step_depends_on_its_scope_and_name_alone(steps, run):
    key = steps.run("mail", lambda key: key, outside=True)

    assert key == idempotency_key(run.claim.scope, "mail")
    assert len({key, idempotency_key("other", "mail"), idempotency_key(run.claim.scope, "other")}) == 3


def test_independent_steps_are_each_tried_and_their_errors_told_together(steps):
    with pytest.raises(StepsFailed, match="stock: none left; mail: too busy") as failed, steps.independent():
        assert steps.run("stock", fail(ValueError("none left"))) is None
        assert steps.run("invoice", lambda own: 7) == 7
        steps.run("mail", fail(OSError("too busy")))

    assert set(failed.value.errors) == {"stock", "mail"}
    assert steps.done("invoice")


@pytest.mark.parametrize(
    ("errors", "permanent"),
    [
        ([Permanent("a"), Hopeless("b")], True),
        ([Permanent("a"), ValueError("b")], False),
        ([ValueError("a")], False),
        ([Hopeless("a")], True),
    ],
)
def test_a_job_of_independent_steps_is_dead_only_when_no_failed_one_can_be_tried_again(steps, errors, permanent):
    with pytest.raises(StepsFailed) as failed, steps.independent():
        for number, error in enumerate(errors):
            steps.run(f"step {number}", fail(error))

    assert failed.value.permanent is permanent


def test_steps_after_an_independent_block_raise_their_own_errors_again(steps):
    with steps.independent():
        steps.run("fine", lambda own: None)

    with pytest.raises(ValueError, match="alone"):
        steps.run("later", fail(ValueError("alone")))


def test_one_block_holds_all_independent_steps(steps):
    with steps.independent(), pytest.raises(RuntimeError, match="one block holds"), steps.independent():
        pytest.fail("it was opened twice")


def test_a_lost_claim_is_not_collected_with_the_errors_of_independent_steps(steps, run):
    claims.give_back(run.claim)

    with pytest.raises(LostClaim), steps.independent():
        steps.run("step", lambda own: pytest.fail("the step must not run"))


def test_a_ledger_that_is_away_is_not_collected_with_the_errors_of_independent_steps(steps):
    with pytest.raises(LedgerUnavailable), steps.independent():
        steps.run("step", fail(LedgerUnavailable("for a moment")))
        pytest.fail("the run can't go on")


@pytest.mark.parametrize("name", ["", "s" * 201])
@pytest.mark.parametrize("boundary", ["run", "sleep"])
def test_a_step_name_has_1_to_200_characters(steps, run, boundary, name):
    with pytest.raises(Permanent, match=f"1 to 200 characters; this one has {len(name)}"):
        steps.run(name, lambda own: None) if boundary == "run" else steps.sleep(name, 1)

    assert marks.step_views(run.claim.scope) == {}


@pytest.mark.parametrize("sign", ["lost", "timed_out"])
def test_a_run_whose_keeper_saw_it_lost_or_late_stops_at_its_next_boundary(steps, run, sign):
    setattr(run, sign, True)

    for boundary in (lambda: steps.run("step", lambda own: None), lambda: steps.sleep("nap", 1), steps.check):
        with pytest.raises(LostClaim):
            boundary()
    assert marks.step_views(run.claim.scope) == {}


def test_the_error_of_a_failed_step_is_readable_at_once(steps, run):
    with pytest.raises(ValueError, match="none left"):
        steps.run("stock", fail(ValueError("none left")))

    view = marks.step_views(run.claim.scope)["stock"]
    assert (view.state, view.error) == ("failed", "ValueError: none left")
