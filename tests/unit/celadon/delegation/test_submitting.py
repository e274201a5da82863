"""Submitting to a delegated queue: what is stored, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from celadon import delegate, errors, lanes, registry, schedules, submit
from celadon.bulk import Submission, submit_many
from celadon.delegation import file
from celadon.ledger import session
from celadon.ledger.db import reading
from celadon.ledger.tables import callbacks, jobs
from celadon.settings import overridden
from tests.contract.given import row
from tests.unit.celadon.cli.given import celadon, refused
from tests.unit.celadon.delegation.conftest import Register

HOOK = "https://shop.example.org/hooks/mail"


@pytest.fixture(autouse=True)
def registered(ledger: str, register: Register) -> None:
    register("http://127.0.0.1:4010", callbacks='["https://shop.example.org"]', attempts="7")


def stored() -> int:
    with reading() as connection:
        return connection.execute(select(func.count()).select_from(jobs)).scalar_one()


def told_to() -> dict[str, str]:
    with reading() as connection:
        return {one.job_id: one.url for one in connection.execute(select(callbacks))}


def test_a_job_is_stored_in_its_queue_with_the_tries_that_the_file_says():
    receipt = delegate("email", {"to": "mina@example.org"}, tenant="acme", priority=3)

    kept = row(receipt.job_id)
    assert (kept.name, kept.queue, kept.payload) == (
        "delegation.deliver",
        "email",
        {"data": {"to": "mina@example.org"}},
    )
    assert (kept.max_attempts, kept.tenant, kept.priority) == (7, "acme", 3)
    assert receipt.outcome == "deferred"  # There is no broker here; a worker's relief finds it.


@pytest.mark.parametrize("data", [None, 7, "text", ["a", {"b": None}]])
def test_data_may_be_any_json(data):
    assert row(delegate("email", data).job_id).payload == {"data": data}


def test_what_is_due_later_stays_in_its_queue():
    kept = row(delegate("email", {}, delay=timedelta(hours=1), expires_in=7200).job_id)

    assert (kept.queue, kept.state) == ("email", "scheduled")
    assert kept.expires_at is not None


def test_a_key_is_unique_within_its_queue():
    first = delegate("email", {"n": 1}, key="order-1")

    assert delegate("email", {"n": 1}, key="order-1").job_id == first.job_id
    assert delegate("letters", {"n": 1}, key="order-1").job_id != first.job_id
    with pytest.raises(errors.KeyConflict):
        delegate("email", {"n": 2}, key="order-1")
    with pytest.raises(errors.KeyConflict):
        delegate("email", {"n": 1}, key="order-1", callback=HOOK)


def test_a_callback_is_stored_with_its_job_or_not_at_all():
    with session() as own:
        receipt = delegate("email", {}, callback=HOOK, session=own)
        assert receipt.outcome == "pending"
        own.rollback()
    assert (told_to(), stored()) == ({}, 0)

    with session() as own:
        receipt = delegate("email", {}, callback=HOOK, session=own)
        own.commit()
    assert told_to() == {receipt.job_id: HOOK}


def test_a_queue_that_is_not_delegated_is_refused_with_the_nearest():
    with pytest.raises(errors.UnknownQueue, match="'emial' is not delegated; did you mean 'email'"):
        delegate("emial", {})
    with pytest.raises(errors.UnknownQueue, match="'default' is not delegated; there are: email, letters"):
        delegate("default", {})
    assert stored() == 0


def test_without_a_registration_file_it_is_said_where_one_is_named(monkeypatch):
    monkeypatch.setattr(lanes.operators_file(), "delegation", "", raising=False)
    with overridden(delegation_file=""), pytest.raises(errors.UnknownQueue, match="name the registration file"):
        file.forget()
        delegate("email", {})


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        ("https://shop.example.com/hooks", "https://shop.example.com may not be sent results; did you mean"),
        ("http://shop.example.org/hooks", "http://shop.example.org may not be sent results"),
        ("http://169.254.169.254/", "may not be sent results; add it to"),
        ("https://me:pw@shop.example.org/", "user or password"),
        ("https://shop.example.org/?token=x", r"no `\?`"),
        ("not a url", "printable ASCII"),
    ],
)
def test_a_callback_goes_to_registered_origins_only(callback, told):
    with pytest.raises(errors.InvalidOption, match=told) as refusal:
        delegate("email", {}, callback=callback)

    assert refusal.value.option == "callback"
    assert "pw" not in str(refusal.value)


def test_submit_by_the_job_s_name_does_the_same():
    receipt = submit("delegation.deliver", {"data": 1}, queue="email", key="k")

    assert row(receipt.job_id).max_attempts == 7
    assert delegate("email", 1, key="k").job_id == receipt.job_id


@pytest.mark.parametrize("queue", [None, "default"])
def test_submit_by_the_job_s_name_needs_a_delegated_queue(queue):
    with pytest.raises(errors.UnknownQueue, match="'default' is not delegated"):
        submit("delegation.deliver", {"data": 1}, queue=queue)


def test_another_job_is_kept_out_of_a_delegated_queue():
    with pytest.raises(errors.InvalidOption, match=r"celadon\.delegate\('email', data\)"):
        submit("unit.inline", {"word": "x"}, queue="email")
    [refusal] = submit_many([Submission(name="unit.inline", payload={"word": "x"}, queue="email")])
    assert isinstance(refusal, errors.InvalidOption)


FORGED = {"url": HOOK, "told": {"jobId": "1", "queueName": "email", "state": "succeeded", "result": {"paid": True}}}


@pytest.mark.parametrize("queue", [None, "callbacks", "default"])
def test_nobody_but_the_platform_says_how_a_job_has_ended(queue):
    with pytest.raises(errors.InvalidOption, match="'delegation.callback' is made by the platform, .*callback=") as no:
        submit("delegation.callback", FORGED, queue=queue)
    assert no.value.option == "name"
    [refusal] = submit_many([Submission(name="delegation.callback", payload=FORGED, queue=queue)])
    assert isinstance(refusal, errors.InvalidOption)
    with pytest.raises(errors.InvalidOption, match="is made by the platform"):
        schedules.add("forged", "delegation.callback", payload=FORGED, queue=queue, every=60)
    assert stored() == 0


def test_other_jobs_are_kept_out_of_the_queue_of_callbacks():
    with pytest.raises(errors.InvalidOption, match="'callbacks' is that of callbacks; .* into another queue") as no:
        submit("unit.inline", {"word": "x"}, queue="callbacks")
    assert no.value.option == "queue"


def test_the_command_submits_and_says_what_became_of_it():
    said = celadon("delegate", "email", '{"n": 1}', "--key", "k", "--tenant", "acme", "--callback", HOOK)
    assert said.exit_code == 0, said.output
    job_id, _, outcome = said.output.splitlines()[-1].partition(": ")
    assert outcome.startswith("deferred")
    assert (row(job_id).payload, told_to()) == ({"data": {"n": 1}}, {job_id: HOOK})

    assert "is no JSON" in refused("delegate", "email", "{")
    assert "did you mean 'email'" in refused("delegate", "emial", "1")


def test_the_job_is_known_to_every_process_that_has_a_registration_file():
    assert registry.get("delegation.deliver").fallback == "defer"
