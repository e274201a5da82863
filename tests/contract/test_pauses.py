"""Pauses of a queue, a name or a tenant: with a reason, and an end that comes by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select

from celadon.errors import InvalidOption
from celadon.ledger import claims, limits, moving, switches
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import audit
from celadon.ledger.tables import switches as table
from celadon.states import State
from tests.contract.given import NAME, a_claim, a_job, change, row

pytestmark = pytest.mark.usefixtures("ledger")

GATES: list[Any] = [("queue", "default"), ("job", NAME), ("tenant", "acme")]


def let_its_end_come() -> None:
    with begin() as connection:
        connection.execute(table.update().values(until=at(-0.01)))


def claim(job_id: str) -> Any:
    return claims.claim(job_id, worker="w:1", engine="worker", lease_s=30)


@pytest.mark.parametrize(("kind", "name"), GATES)
def test_what_is_paused_waits_until_it_is_resumed(kind, name):
    before = a_job(tenant="acme")
    switches.pause(kind, name, actor="ada")
    after, other = a_job(tenant="acme"), a_job("contract.other", queue="data_sync", tenant="other")

    assert claim(before) is None
    assert (row(after).state, row(other).state) == (State.WAITING, State.QUEUED)
    assert moving.queued_ids(["default"], [NAME], 10) == []
    moving.hold(before)
    assert moving.release() == 0

    switches.resume(kind, name, actor="ada")

    assert moving.release() == 2
    a_claim(before)
    a_claim(after)


@pytest.mark.parametrize(("kind", "name"), GATES)
def test_a_pause_with_an_end_ends_by_itself(kind, name):
    held = a_job(tenant="acme")
    switches.pause(kind, name, for_s=3600, actor="ada")
    assert claim(held) is None
    waiting = a_job(tenant="acme")
    assert switches.paused() == {(kind, name)}

    let_its_end_come()

    assert switches.paused() == set()
    assert claim(held) is not None
    assert moving.release() == 1
    assert row(waiting).state == row(a_job(tenant="acme")).state == State.QUEUED


def test_what_becomes_due_during_a_pause_of_its_tenant_waits():
    job_id = a_job(state=State.SCHEDULED, delay_s=3600.0, tenant="acme")
    change(job_id, run_at=at(-1))
    switches.pause("tenant", "acme", actor="ada")

    moving.promote()

    assert row(job_id).state == State.WAITING


def test_what_runs_goes_on():
    running = a_claim(tenant="acme")

    switches.pause("tenant", "acme", actor="ada")

    assert claims.finish(running, None) == State.SUCCEEDED


def test_the_end_is_a_time_or_a_length_and_is_told():
    with reading() as connection:
        now = clock(connection)

    by_length = switches.pause("queue", "q", for_s=60, actor="ada")
    hour = (now + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5)))
    by_time = switches.pause("queue", "q", until=hour, actor="ada")

    assert by_length is not None
    assert 59 < (by_length - now).total_seconds() < 70
    assert by_time == hour
    assert switches.pause("queue", "q", actor="ada") is None
    assert limits.find("queue", "q").until is None


def test_an_end_or_a_reason_that_can_not_be_meant_is_refused():
    later = datetime(2100, 1, 1, tzinfo=UTC)
    for options, words in (
        ({"until": later, "for_s": 5}, "give one"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "is past"),
        ({"until": datetime(2100, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"for_s": -1}, "from 0 s"),
        ({"for_s": 0}, "to end one, resume"),
        ({"reason": "x" * 201}, "1 to 200 characters"),
        ({"reason": ""}, "1 to 200 characters"),
        ({"reason": "NUL: \x00"}, "none of them NUL"),
    ):
        with pytest.raises(InvalidOption, match=words):
            switches.pause("queue", "q", actor="ada", **options)
    assert switches.paused() == set()


def test_who_paused_what_and_why_is_kept():
    switches.pause("tenant", "acme", reason="unpaid", for_s=60, actor="ada")
    switches.resume("tenant", "acme", actor="bob")
    switches.turn("job", NAME, use_broker=False, actor="eve")

    with reading() as connection:
        noted = connection.execute(select(audit).order_by(audit.c.id)).all()

    assert [(one.actor, one.action, one.subject) for one in noted] == [
        ("ada", "pause", "tenant acme"),
        ("bob", "resume", "tenant acme"),
        ("eve", "switch", f"job {NAME}"),
    ]
    assert noted[0].detail["reason"] == "unpaid"
    assert limits.find("tenant", "acme").reason is None


def test_to_resume_what_is_not_paused_leaves_no_trace():
    assert switches.resume("tenant", "typo", actor="ada") is False
    switches.turn("job", NAME, use_broker=False, actor="eve")
    assert switches.resume("job", NAME, actor="ada") is False

    with reading() as connection:
        assert [one.actor for one in connection.execute(select(audit))] == ["eve"]
        assert [one.kind for one in connection.execute(select(table))] == ["job"]
    switches.pause("job", NAME)
    assert switches.resume("job", NAME) is True


def test_the_broker_is_not_switched_by_tenant():
    with pytest.raises(InvalidOption, match="not by tenant"):
        switches.turn("tenant", "acme", use_broker=False)
