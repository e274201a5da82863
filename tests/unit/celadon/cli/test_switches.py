"""Commands that pause queues, jobs of a name and tenants, and take them off the broker."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from celadon import submit
from celadon.ledger import switches
from celadon.ledger.db import reading
from celadon.ledger.tables import audit
from tests.unit.celadon.cli.given import celadon, refused


@pytest.mark.usefixtures("ledger")
def test_switch_takes_a_queue_or_a_job_off_the_broker_and_puts_it_back():
    assert celadon("switch", "queue", "data_sync", "off").output == "queue data_sync: broker off\n"
    assert celadon("switch", "job", "unit.inline", "off").output == "job unit.inline: broker off\n"
    assert switches.off_broker() == {("queue", "data_sync"), ("job", "unit.inline")}

    celadon("switch", "queue", "data_sync", "on")
    assert switches.off_broker() == {("job", "unit.inline")}


@pytest.mark.usefixtures("ledger")
def test_pause_and_resume_hold_a_queue_or_a_name():
    assert (
        celadon("pause", "data_sync", "--reason", "maintenance").output
        == "queue data_sync: paused until it is resumed\n"
    )
    assert celadon("pause", "unit.inline", "--kind", "job").output == "job unit.inline: paused until it is resumed\n"
    assert submit("unit.deferred", {}).outcome == submit("unit.inline", {"word": "x"}).outcome == "waiting"

    assert celadon("resume", "data_sync").output == "queue data_sync: resumed\n"
    assert celadon("resume", "data_sync").output == "queue data_sync: not paused\n"
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


@pytest.mark.usefixtures("ledger")
def test_a_tenant_is_paused_and_only_its_jobs_wait():
    celadon("pause", "acme & co", "--kind", "tenant", "--reason", "unpaid")

    assert submit("unit.inline", {"word": "x"}, tenant="acme & co").outcome == "waiting"
    assert submit("unit.inline", {"word": "x"}, tenant="other").outcome == "inline"
    assert celadon("switches").output == "tenant acme & co: paused until it is resumed, 1 wait: unpaid\n"
    assert celadon("resume", "acme & co", "--kind", "tenant").output == "tenant acme & co: resumed\n"
    assert celadon("switches").output == ""


@pytest.mark.usefixtures("ledger")
def test_a_pause_may_end_by_itself():
    told = celadon("pause", "default", "--until", "2031-01-31T08:00:00+01:00").output
    assert told == "queue default: paused until 2031-01-31 07:00:00 UTC\n"
    assert celadon("pause", "default", "--for", "3600").output.startswith("queue default: paused until 20")

    celadon("switch", "queue", "default", "off")
    held, off = celadon("switches").output.splitlines()
    assert held.startswith("queue default: paused until 20")
    assert held.endswith(" UTC, 0 wait")
    assert off == "queue default: broker off"


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--for", "5", "--until", "2031-01-01T00:00:00Z"), "--for and --until both say when the pause ends; give one"),
        (("--until", "2020-01-01T00:00:00Z"), "is past; it is 20"),
        (("--until", "2031-01-01T00:00:00"), "has no zone; write it as 2031-01-01T00:00:00Z"),
        (("--until", "noon"), "'noon' is no time; write it as 2027-01-31T08:00:00Z"),
        (("--for", "0"), "'--for'"),
        (("--reason", "x" * 201), "1 to 200 characters"),
        (("--kind", "worker"), "'worker' is not one of 'queue', 'job', 'tenant'"),
    ],
)
def test_a_pause_that_can_not_be_meant_is_refused(words, told):
    assert told in refused("pause", "default", *words)
    assert switches.paused() == set()


@pytest.mark.usefixtures("ledger")
def test_a_reason_stays_on_its_line():
    celadon("pause", "default", "--reason", "first\nsecond")

    assert celadon("switches").output == "queue default: paused until it is resumed, 0 wait: first\\nsecond\n"


@pytest.mark.usefixtures("ledger")
def test_a_queue_that_is_gone_can_still_be_put_back():
    switches.pause("queue", "of last year")
    switches.turn("queue", "of last month", use_broker=False)

    assert celadon("resume", "of last year").output == "queue of last year: resumed\n"
    assert celadon("switch", "queue", "of last month", "on").output == "queue of last month: broker on\n"
    assert "No lane works the queue 'of last year'" in refused("resume", "of last year")


@pytest.mark.usefixtures("ledger")
def test_who_did_it_is_written_down():
    celadon("pause", "default", "--reason", "r")
    celadon("resume", "default")
    celadon("switch", "queue", "default", "off")

    with reading() as connection:
        done = connection.execute(select(audit).order_by(audit.c.id)).all()
    assert [(one.actor, one.action, one.subject) for one in done] == [
        ("command", "pause", "queue default"),
        ("command", "resume", "queue default"),
        ("command", "switch", "queue default"),
    ]
    assert done[0].detail["reason"] == "r"
