"""Circuits of endpoints: opened by failures in a row, held by pauses, and tried by one at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from celadon.ledger import circuits, switches
from celadon.ledger.circuits import FAILURES, FIRST_S, LONGEST_S, connected, elect, failed, troubled
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import circuits as table
from celadon.ledger.tables import switches as pauses
from tests.contract.given import race

pytestmark = pytest.mark.usefixtures("ledger")

QUEUES = ["email", "letters"]


def fail(times: int = FAILURES, *, probe: bool = False) -> list[float | None]:
    return [failed("mail", "connection refused", QUEUES, probe=probe) for _ in range(times)]


def let_its_time_come() -> None:
    with begin() as connection:
        connection.execute(table.update().values(open_until=at(-0.01)))


def paused_for(queue: str) -> float | None:
    """How long the queue is paused; None: it is not, or for good."""
    with reading() as connection:
        row = connection.execute(
            select(pauses.c.until, pauses.c.reason, at().label("now")).where(
                pauses.c.name == queue, pauses.c.paused.is_(True), pauses.c.until.is_not(None)
            )
        ).one_or_none()
    return None if row is None else (row.until - row.now).total_seconds()


def test_it_opens_at_the_fifth_failure_in_a_row_and_pauses_the_queues_of_its_endpoint() -> None:
    assert fail(FAILURES - 1) == [None] * (FAILURES - 1)
    assert not troubled()["mail"].open
    assert switches.paused() == set()

    assert fail(1) == [FIRST_S]

    circuit = troubled()["mail"]
    assert (circuit.open, circuit.failures, circuit.reason) == (True, FAILURES, "connection refused")
    assert switches.paused() == {("queue", "email"), ("queue", "letters")}
    for queue in QUEUES:
        assert paused_for(queue) == pytest.approx(FIRST_S, abs=1)


def test_who_fails_while_it_is_open_does_not_open_it_again() -> None:
    fail()

    assert fail(3) == [None] * 3


def test_many_that_fail_at_once_open_it_once() -> None:
    opened = race(2 * FAILURES, lambda _: failed("mail", "refused", QUEUES, probe=False))

    assert sorted(filter(None, opened)) == [FIRST_S]


def test_a_connection_that_is_made_forgets_the_failures_before() -> None:
    fail(FAILURES - 1)

    assert not connected("mail", QUEUES, probe=False)

    assert troubled() == {}
    assert fail(FAILURES - 1) == [None] * (FAILURES - 1)


def test_while_it_is_open_an_old_answer_does_not_close_it() -> None:
    fail()

    assert not connected("mail", QUEUES, probe=False)

    assert troubled()["mail"].open


def test_nobody_is_elected_before_its_time_and_one_among_many_afterwards() -> None:
    fail()
    assert race(8, lambda _: elect("mail", QUEUES, probe_s=30)) == [False] * 8

    let_its_time_come()

    elected = race(8, lambda _: elect("mail", QUEUES, probe_s=30))
    assert (elected.count(True), elected.count(False)) == (1, 7)
    assert troubled()["mail"].open_for_s == pytest.approx(30, abs=5)
    assert paused_for("email") == pytest.approx(30, abs=5)


def test_another_is_elected_when_nothing_was_heard_of_the_first() -> None:
    fail()
    let_its_time_come()
    assert elect("mail", QUEUES, probe_s=30)

    let_its_time_come()

    assert elect("mail", QUEUES, probe_s=30)


def test_the_elected_closes_it_and_the_queues_go_on() -> None:
    fail()
    let_its_time_come()
    elect("mail", QUEUES, probe_s=30)

    assert connected("mail", QUEUES, probe=True)

    assert (troubled(), switches.paused()) == ({}, set())
    assert not connected("mail", QUEUES, probe=True)


def test_the_elected_that_fails_opens_it_for_twice_as_long_up_to_a_minute() -> None:
    lengths = fail()[-1:]
    for _ in range(7):
        let_its_time_come()
        elect("mail", QUEUES, probe_s=30)
        lengths += fail(1, probe=True)

    assert lengths == [2, 4, 8, 16, 32, 60, 60, 60]
    assert lengths[0] == FIRST_S
    assert lengths[-1] == LONGEST_S
    assert paused_for("email") == pytest.approx(60, abs=5)


def test_a_pause_of_an_operator_stands_before_during_and_after() -> None:
    switches.pause("queue", "email", reason="they move house", for_s=3600, actor="ada")
    fail()
    assert paused_for("email") == pytest.approx(3600, abs=5)
    assert paused_for("letters") == pytest.approx(FIRST_S, abs=1)
    switches.pause("queue", "letters", reason="they too", actor="ada")
    let_its_time_come()
    elect("mail", QUEUES, probe_s=30)

    connected("mail", QUEUES, probe=True)

    assert switches.paused() == {("queue", "email"), ("queue", "letters")}


def test_circuits_of_two_endpoints_know_nothing_of_each_other() -> None:
    fail()
    fail_other = [failed("mail_2", "unknown name", ["sms"], probe=False) for _ in range(FAILURES)]
    assert fail_other[-1] == FIRST_S
    let_its_time_come()
    elect("mail", QUEUES, probe_s=30)

    connected("mail", [*QUEUES, "sms"], probe=True)

    assert set(troubled()) == {"mail_2"}
    assert switches.paused() == {("queue", "sms")}


def test_a_reason_is_kept_as_far_as_there_is_room() -> None:
    for _ in range(FAILURES):
        failed("mail", "x" * 5000, QUEUES, probe=False)

    assert len(troubled()["mail"].reason) == 2000
    assert circuits.troubled()["mail"].open
