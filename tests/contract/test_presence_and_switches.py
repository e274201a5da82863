"""Which workers are alive, and what operators have turned."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from celadon.ledger import presence, switches
from celadon.ledger.db import at, begin
from celadon.ledger.presence import Worker
from celadon.ledger.tables import workers
from tests.contract.given import count, race

pytestmark = pytest.mark.usefixtures("ledger")


def worker(name: str = "host:abc") -> Worker:
    return Worker(
        id=name, host="host", pid=7, lane="default", queues=("default",), tasks=("a.b", "c.d"), concurrency=50
    )


def silent_for(seconds: float) -> None:
    with begin() as connection:
        connection.execute(update(workers).values(last_seen=at(-seconds)))


def test_a_worker_that_appeared_is_alive_with_all_it_said():
    presence.appear(worker())

    assert presence.alive() == [worker()]


def test_appearing_twice_is_one_worker():
    presence.appear(worker())
    silent_for(3600)

    presence.appear(worker())

    assert presence.alive() == [worker()]


def test_a_worker_not_heard_of_is_taken_for_gone_until_it_is_heard_again():
    presence.appear(worker())
    silent_for(16)  # PRESENCE_S is 15 by default.
    assert presence.alive() == []

    assert presence.beat("host:abc") is True
    assert presence.alive() == [worker()]


def test_a_worker_that_is_stopping_takes_no_more_work():
    presence.appear(worker())

    presence.beat("host:abc", stopping=True, lost_slots=3)

    assert presence.alive() == []
    assert count(workers, workers.c.lost_slots == 3) == 1


def test_a_worker_whose_row_is_gone_is_told_to_appear_again():
    assert presence.beat("host:abc") is False


def test_a_worker_leaves():
    presence.appear(worker("one"))
    presence.appear(worker("two"))

    presence.leave("one")

    assert presence.alive() == [worker("two")]


def test_workers_of_the_last_week_stay_visible_and_older_ones_are_forgotten():
    presence.appear(worker("crashed yesterday"))
    silent_for(86400)
    presence.forget()
    assert count(workers) == 1

    silent_for(8 * 86400)
    presence.forget()
    assert count(workers) == 0


def test_switches_are_kept_per_kind_and_name():
    switches.turn("queue", "x", use_broker=False)
    switches.turn("job", "y", use_broker=False)
    assert switches.off_broker() == {("queue", "x"), ("job", "y")}

    switches.turn("queue", "x", use_broker=True)
    assert switches.off_broker() == {("job", "y")}


def test_turning_one_thing_leaves_the_other_as_it_is():
    switches.turn("queue", "x", use_broker=False)

    switches.pause("queue", "x", reason="maintenance")
    switches.resume("queue", "x")

    assert switches.off_broker() == {("queue", "x")}


def test_operators_who_turn_the_same_switch_at_once_do_not_disturb_each_other():
    race(6, lambda number: switches.turn("queue", "x", use_broker=number < 0))

    assert switches.off_broker() == {("queue", "x")}
