"""What JSON, Unicode and length can do to a database: refused with a clear error or kept, the same on both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from celadon import JobView, Steps, find, submit
from celadon.errors import CeladonError, InvalidOption, InvalidPayload
from celadon.ledger.tables import jobs
from celadon.run import Runner, run_job
from celadon.states import Outcome, State
from celadon.steps import DEEPEST
from tests.contract.given import WORKER, change, count, row
from tests.contract.jobs import SCRIPT

pytestmark = pytest.mark.usefixtures("ledger")

HERE = Runner(worker=WORKER)


@pytest.mark.parametrize(
    "value",
    ["", "日本 😀", "a\\u0000b", "'; DROP TABLE jobs; --", {"": [None, True, 1.5, -0.0, 2**60]}, [[[]]], "x" * 100_000],
    ids=lambda value: repr(value)[:20],
)
def test_a_payload_comes_back_as_it_was(value):
    receipt = submit("contract.anything", {"value": value})

    assert row(receipt.job_id).payload == {"value": value}


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, {"deep": -math.inf}]], ids=str)
def test_a_number_that_json_can_not_hold_is_refused(value):
    with pytest.raises(InvalidPayload):
        submit("contract.anything", {"value": value})

    assert count(jobs) == 0


@pytest.mark.parametrize("payload", [None, 7, ["value"], "value"], ids=str)
def test_a_payload_that_is_no_mapping_is_refused(payload):
    with pytest.raises(InvalidPayload):
        submit("contract.anything", payload)


@pytest.mark.parametrize("option", ["key", "tenant"])
def test_an_option_with_a_nul_character_is_refused(option):
    with pytest.raises(InvalidOption, match=option):
        submit("contract.anything", {"value": 1}, **{option: "a\x00b"})

    assert count(jobs) == 0


@pytest.mark.parametrize("order_id", ["x" * 300, "a\x00b"], ids=["too long", "NUL"])
def test_a_business_key_that_the_ledger_can_not_hold_is_refused(order_id):
    with pytest.raises(CeladonError):
        submit("contract.deferred", {"order_id": order_id})

    assert count(jobs) == 0


def ended(script: Callable[[Steps], object]) -> JobView:
    """Run a job that does this, for the last of its tries, and return what the ledger says of it."""
    SCRIPT.append(script)
    receipt = submit("contract.scripted", {}, queue="data_sync")
    change(receipt.job_id, attempt=1)
    run_job(receipt.job_id, HERE)
    view = find(receipt.job_id)
    assert view is not None
    return view


@pytest.mark.parametrize("result", [math.nan, {"deep": [math.inf]}], ids=str)
def test_a_result_that_json_can_not_hold_is_a_failure_for_good(result):
    view = ended(lambda _: result)

    assert (view.state, view.error and view.error["kind"]) == (State.DEAD, "Permanent")


def nested(levels: int) -> list[object]:
    made: list[object] = []
    for _ in range(levels - 1):
        made = [made]
    return made


@pytest.mark.parametrize("levels", [DEEPEST + 1, 5_000])
def test_a_result_that_is_nested_deeper_than_readers_can_follow_is_a_failure_for_good(levels):
    with capture_logs():  # Who shows the local variables of a traceback would be at it for minutes.
        view = ended(lambda _: {"a": nested(levels - 1)})

    assert (view.state, view.error and view.error["kind"]) == (State.DEAD, "Permanent")


def test_a_result_that_is_nested_as_deep_as_allowed_can_be_read():
    view = ended(lambda _: nested(DEEPEST))

    assert view.state == State.SUCCEEDED
    assert view.as_dict()["result"] == nested(DEEPEST)


@pytest.mark.parametrize("message", ["a\x00b", "a\udc80b", "\ud83d"], ids=ascii)
def test_an_error_is_recorded_whatever_its_message_holds(message):
    def fail(_: Steps) -> None:
        raise ValueError(message)

    view = ended(fail)

    assert (view.state, view.error and view.error["kind"]) == (State.DEAD, "ValueError")
    assert [attempt.outcome for attempt in view.attempts] == [Outcome.FAILED]
    json.dumps(view.as_dict(), ensure_ascii=False).encode()


@pytest.mark.parametrize("message", ["a\x00b", "a\udc80b"], ids=ascii)
def test_the_error_of_a_step_is_recorded_whatever_its_message_holds(message):
    def fail(own: Session) -> None:
        raise ValueError(message)

    view = ended(lambda steps: steps.run("step", fail))

    assert (view.state, [step.state for step in view.steps]) == (State.DEAD, ["failed"])


def test_what_stands_for_a_character_that_can_not_be_stored_is_kept_with_the_rest():
    def fail(own: Session) -> None:
        raise ValueError("a\x00b\udc80c")

    view = ended(lambda steps: steps.run("step", fail))

    assert view.error is not None
    assert (view.error["kind"], view.error["message"]) == ("ValueError", "a\ufffdb?c")
    assert view.steps[0].error == "ValueError: a\ufffdb?c"
    assert "a\ufffdb?c" in (view.attempts[0].error or "")


@pytest.mark.parametrize("name", ["", "s" * 201], ids=["empty", "too long"])
def test_a_step_whose_name_the_ledger_can_not_hold_fails_the_job_for_good_on_every_database(name):
    view = ended(lambda steps: steps.run(name, lambda own: None))

    assert (view.state, view.error and view.error["kind"]) == (State.DEAD, "Permanent")
    assert view.steps == ()


def test_the_longest_step_name_is_fine():
    assert ended(lambda steps: steps.run("s" * 200, lambda own: 7)).result == 7


def test_a_result_of_any_depth_and_script_comes_back():
    result = {"日本": ["😀", None, {"x": [1.25, 2**53]}]}

    assert ended(lambda _: result).result == result
