"""Commands that look at jobs and steer them one by one."""

from __future__ import annotations

import json

import pytest

from celadon import submit
from celadon.ledger import claims
from celadon.states import State
from tests.contract.given import FAILURE, a_claim, a_dead_letter, a_job_that_is, row
from tests.unit.celadon.cli.given import celadon, refused


@pytest.mark.usefixtures("ledger")
def test_job_prints_a_job_as_json():
    receipt = submit("unit.inline", {"word": "hello"})

    told = json.loads(celadon("job", receipt.job_id).output)

    assert (told["id"], told["state"], told["result"]) == (receipt.job_id, "succeeded", {"word": "hello"})
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["succeeded"]


@pytest.mark.usefixtures("ledger")
def test_jobs_are_listed_a_line_each_and_narrowed():
    dead, waiting = a_job_that_is(State.DEAD, "unit.a"), a_job_that_is(State.WAITING, "unit.b")

    listed = celadon("jobs").output.splitlines()
    assert {line.split()[0] for line in listed} == {dead, waiting}
    assert celadon("jobs", "--state", "dead", "--state", "queued", "--name", "unit.a").output.startswith(
        f"{dead}  dead       unit.a  20"
    )
    assert celadon("jobs", "--state", "dead").output.endswith("  ValueError: no\n")
    assert celadon("jobs", "--tenant", "nobody", "--queue", "default").output == ""
    assert "state='ended': one of scheduled" in refused("jobs", "--state", "ended")


@pytest.mark.usefixtures("ledger")
def test_a_dead_letter_is_found_by_its_queue_and_tells_what_was_sent_and_what_came_back():
    letter = a_dead_letter("email")
    a_dead_letter("analytics")

    (line,) = celadon("jobs", "--state", "dead", "--queue", "email").output.splitlines()
    told = json.loads(celadon("job", line.split()[0]).output)
    in_full = json.loads(celadon("job", letter, "--payload").output)

    assert (told["delivery"]["answer"]["status"], told["delivery"]["request"]["body"]) == (422, None)
    assert "payload" not in told
    assert in_full["payload"] == {"data": {"to": "ada"}}
    assert in_full["delivery"]["request"]["body"] == '{"to":"ada"}'


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("command", ["job", "cancel", "replay", "run-now"])
def test_an_unknown_job_is_told_in_one_sentence(command):
    assert refused(command, "nobody") == "Error: There is no job 'nobody'"


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State.QUEUED, "cancelled"),
        (State.RUNNING, "will be cancelled at its next step"),
        (State.SUCCEEDED, "succeeded"),
        (State.DEAD, "dead"),
    ],
)
def test_cancel_says_what_became_of_the_job(state, told):
    job_id = a_job_that_is(state)

    assert celadon("cancel", job_id).output == f"{job_id}: {told}\n"


@pytest.mark.usefixtures("ledger")
def test_replay_puts_a_dead_job_back_and_refuses_others():
    job_id = a_job_that_is(State.DEAD)

    assert celadon("replay", job_id).output == f"{job_id}: put back\n"
    assert row(job_id).state == State.WAITING
    assert refused("replay", job_id) == f"Error: Job {job_id} is waiting; only a dead job can be replayed"


@pytest.mark.usefixtures("ledger")
def test_a_scheduled_job_is_made_due_now_or_at_another_time():
    job_id = a_job_that_is(State.SCHEDULED)

    assert celadon("reschedule", job_id, "--at", "2031-01-31T08:00:00+01:00").output == (
        f"{job_id}: due 2031-01-31 07:00:00 UTC\n"
    )
    assert celadon("reschedule", job_id, "--delay", "60").output.startswith(f"{job_id}: due 20")
    assert celadon("run-now", job_id).output == f"{job_id}: due now\n"
    assert "write it as 2027-01-31T08:00:00Z" in refused("reschedule", job_id, "--at", "noon")
    assert refused("reschedule", job_id) == "Error: say when the job is due: either run_at or delay"


@pytest.mark.usefixtures("ledger")
def test_a_dead_jobs_error_can_be_read():
    claim = a_claim()
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)

    told = json.loads(celadon("job", claim.job_id).output)

    assert told["error"] == {"kind": "ValueError", "message": "no", "fingerprint": "f" * 16}
    assert told["attempts"][0]["error"] == "Traceback: no"
