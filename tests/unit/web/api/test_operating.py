"""What operators do to a job over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from celadon.ledger import apikeys, claims, marks
from celadon.ledger.db import reading
from celadon.ledger.tables import audit
from celadon.states import State
from tests.contract.given import LEASE_S, a_claim, a_job_that_is
from tests.unit.web.api.given import fields, later
from tests.unit.web.conftest import Client

ACTS = ["cancel", "replay", "run-now", "reschedule"]
RIGHT = {
    "cancel": {*State} - {State.SUCCEEDED, State.DEAD},
    "replay": {State.DEAD},
    "run-now": {State.SCHEDULED},
    "reschedule": {State.SCHEDULED},
}
BECOMES = {"cancel": "cancelled", "replay": "waiting", "run-now": "scheduled", "reschedule": "scheduled"}


def act(program: Client, job_id: str, what: str, **body: Any) -> Any:
    return program.post(f"/api/jobs/{job_id}/{what}", json=body or {"delay_s": 60})


@pytest.mark.parametrize("what", ACTS)
def test_each_is_allowed_in_its_states_and_a_conflict_in_all_others(program: Client, what: str) -> None:
    for state in State:
        job_id = a_job_that_is(state)

        answer = act(program, job_id, what)

        if state in RIGHT[what]:
            assert answer.status_code == 200, answer.text
            assert answer.json == program.get(f"/api/jobs/{job_id}").json
            asked = state == State.RUNNING
            assert answer.json["cancel_requested"] is asked
            assert answer.json["state"] == ("running" if asked else BECOMES[what])
        else:
            assert (answer.status_code, answer.json["type"]) == (409, "urn:celadon:problem:not-in-this-state")
            assert f"is {state}" in answer.json["detail"]


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("job_id", ["nobody", "%00", "x" * 65])
def test_there_is_nothing_to_do_to_an_unknown_job(program: Client, what: str, job_id: str) -> None:
    answer = act(program, job_id, what)

    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_a_job_is_made_due_at_another_time(program: Client) -> None:
    job_id = later()

    assert (
        act(program, job_id, "reschedule", run_at="2031-01-31T08:00:00+01:00")
        .json["run_at"]
        .startswith("2031-01-31T07:00:00")
    )
    soon = datetime.fromisoformat(act(program, job_id, "run-now").json["run_at"])
    assert abs((soon - datetime.now(UTC)).total_seconds()) < 10


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"run_at": None}, "body"),
        ({"run_at": "2031-01-01T00:00:00Z", "delay_s": 5}, "body"),
        ({"run_at": "noon"}, "run_at"),
        ({"delay_s": -1}, "delay_s"),
        ({"delay": 1}, "delay"),
    ],
)
def test_a_time_that_can_not_be_meant_is_refused(program: Client, body: dict[str, Any], field: str) -> None:
    answer = act(program, later(), "reschedule", **body)

    assert (answer.status_code, fields(answer)) == (422, [field])


@pytest.mark.parametrize("what", ["run-now", "reschedule"])
def test_a_job_asleep_in_a_step_says_until_when(program: Client, what: str) -> None:
    claim = a_claim()
    claims.sleep(claim, marks.start_sleep(claim, "cool-off", "key", 3600, LEASE_S).wake_at)

    answer = act(program, claim.job_id, what)

    assert answer.status_code == 409
    assert "sleeps in its step 'cool-off' until" in answer.json["detail"]


def test_what_was_done_is_written_down_with_the_key_that_did_it(program: Client) -> None:
    job_id = later()
    act(program, job_id, "run-now")
    act(program, job_id, "cancel")

    with reading() as connection:
        done = connection.execute(select(audit).where(audit.c.subject == job_id).order_by(audit.c.id)).all()
    key = apikeys.every()[0]
    assert [(one.action, one.actor) for one in done] == [("run now", f"key {key.id}"), ("cancel", f"key {key.id}")]
    assert program.get(f"/api/jobs/{job_id}").json["error"]["message"] == f"by key {key.id}"
