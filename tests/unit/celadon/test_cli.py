"""The command `celadon`: what it prints, and errors in one sentence."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner, Result

from celadon import find, submit
from celadon.cli import main
from celadon.ledger import apikeys, claims, switches
from celadon.states import State
from tests.contract.given import FAILURE, a_claim, a_job_that_is, row
from tests.contract.pointed import pointed


def celadon(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="celadon")


def refused(*words: str) -> str:
    """The one sentence in which the command says no."""
    result = celadon(*words)
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output.strip()


def test_without_a_command_it_tells_what_there_is():
    output = celadon("--help").output

    for command in ("migrate", "worker", "beat", "web", "job", "jobs", "cancel", "replay", "switch", "pause", "resume"):
        assert f"  {command}" in output


def test_it_tells_its_version():
    assert celadon("--version").output.startswith("celadon, version ")


def test_migrate_brings_a_new_database_up_to_date(tmp_path):
    with pointed(ledger_url=f"sqlite:///{tmp_path}/new.db", use_broker="false"):
        first, again = celadon("migrate"), celadon("migrate")

        assert first.output == again.output
        assert "celadon.ledger.migrations: up to date\n" in first.output
        assert "services.migrations: up to date\n" in first.output
        assert find("nobody") is None


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
def test_switch_takes_a_queue_or_a_job_off_the_broker_and_puts_it_back():
    assert celadon("switch", "queue", "data_sync", "off").output == "queue data_sync: broker off\n"
    assert celadon("switch", "job", "unit.inline", "off").output == "job unit.inline: broker off\n"
    assert switches.off_broker() == {("queue", "data_sync"), ("job", "unit.inline")}

    celadon("switch", "queue", "data_sync", "on")
    assert switches.off_broker() == {("job", "unit.inline")}


@pytest.mark.usefixtures("ledger")
def test_pause_and_resume_hold_a_queue_or_a_name():
    assert celadon("pause", "data_sync", "--reason", "maintenance").output == "queue data_sync: paused\n"
    assert celadon("pause", "unit.inline", "--kind", "job").output == "job unit.inline: paused\n"
    assert submit("unit.deferred", {}).outcome == submit("unit.inline", {"word": "x"}).outcome == "waiting"

    assert celadon("resume", "data_sync").output == "queue data_sync: resumed\n"
    assert submit("unit.deferred", {}).outcome == "deferred"


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("switch", "queue", "nope", "off"), "No lane works the queue 'nope'; there are: data_sync"),
        (("pause", "nope"), "No lane works the queue 'nope'"),
        (("resume", "nope"), "No lane works the queue 'nope'"),
        (("switch", "job", "unit.inlin", "off"), "did you mean 'unit.inline'"),
        (("worker", "nope"), "There is no lane 'nope'; there are: default, data_sync, scheduled"),
    ],
)
def test_a_misspelt_name_is_told_with_those_that_there_are(words, told):
    assert told in refused(*words)
    assert switches.off_broker() == set()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ledger_url": "sqlite:////no/such/folder/x.db"}, "The ledger's database can't be reached"),
        ({"ledger_url": "postgresql+psycopg://nobody@127.0.0.1:1/x"}, "The ledger's database can't be reached"),
        ({"ledger_url": "mysql://h/x"}, "runs on sqlite or postgresql"),
        ({"ledger_url": "nonsense"}, "LEDGER_URL"),
        ({"lease_s": "soon"}, "LEASE_S"),
    ],
    ids=["no folder", "no server", "no such kind", "no address", "bad setting"],
)
def test_a_ledger_that_can_not_be_had_is_told_in_one_sentence(changes, told):
    with pointed(**changes):
        output = refused("job", "x")

    assert output.startswith("Error: ")
    assert told in output


def test_a_driver_that_is_not_installed_is_told_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pointed(ledger_url="postgresql://nobody@127.0.0.1:1/x"):
        assert "pip install 'celadon[postgresql]'" in refused("job", "x")


@pytest.mark.usefixtures("ledger")
def test_a_dead_jobs_error_can_be_read():
    claim = a_claim()
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)

    told = json.loads(celadon("job", claim.job_id).output)

    assert told["error"] == {"kind": "ValueError", "message": "no", "fingerprint": "f" * 16}
    assert told["attempts"][0]["error"] == "Traceback: no"


@pytest.mark.usefixtures("ledger")
def test_a_key_is_printed_alone_then_listed_without_its_secret_and_revoked():
    text = celadon("keys", "create", "the shop", "--scope", "read", "--scope", "produce").output

    key = apikeys.verify(text.removesuffix("\n"))
    assert key is not None
    assert celadon("keys", "list").output.startswith(f"{key.id}  produce,read  the shop  used 20")
    assert celadon("keys", "revoke", key.id).output == f"{key.id}: revoked\n"
    listed = celadon("keys", "list").output
    assert "  revoked 20" in listed
    assert text.split("_", 2)[2].strip() not in listed


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "x", "--scope", "write"), "Error: scopes=['write']: one or more of produce, read, operate"),
        (("create", "x"), "Missing option '--scope'"),
        (("revoke", "nobody"), "Error: There is no API key 'nobody'"),
    ],
)
def test_a_key_that_can_not_be_is_told_in_one_sentence(words, told):
    assert told in refused("keys", *words)
