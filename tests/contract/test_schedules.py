"""Schedules as rows: the configuration that wins, and firing once however many schedulers run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from celadon.ledger import schedules
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.schedules import Entry
from celadon.ledger.tables import jobs
from celadon.ledger.tables import schedules as table
from celadon.states import State
from tests.contract.given import count, new_job, race

pytestmark = pytest.mark.usefixtures("ledger")

HOURLY, DAILY = {"every_s": 3600.0}, {"every_s": 86400.0}


def now() -> datetime:
    with reading() as connection:
        return clock(connection)


def entry(name: str = "report", *, spec: Any = HOURLY, in_s: float = 3600, **facts: Any) -> Entry:
    return Entry(
        **{
            "name": name,
            "job": "contract.job",
            "spec": spec,
            "payload": {},
            "queue": None,
            "next_due": now() + timedelta(seconds=in_s),
            **facts,
        }
    )


def kept(name: str = "report") -> Any:
    with reading() as connection:
        return connection.execute(select(table).where(table.c.name == name)).one_or_none()


def names() -> set[str]:
    """Of the schedules that stand."""
    with reading() as connection:
        return set(connection.execute(select(table.c.name).where(table.c.removed.is_(False))).scalars())


def change(**values: object) -> None:
    with begin() as connection:
        connection.execute(update(table).values(**values))


def fire(due: datetime, seen: Any = None) -> bool:
    """Fire it as a scheduler does that read the row just now, or as it was `seen`."""
    new = new_job(state=State.SCHEDULED, run_at=due, schedule="report", due=due)
    return schedules.fire(seen or kept(), due, due + timedelta(hours=1), new)


def test_a_new_schedule_is_due_first_at_its_next_time():
    one = entry(payload={"a": 1}, queue="data_sync")

    schedules.sync([one], 1, now())

    row = kept()
    assert (row.job, row.spec, row.payload, row.queue) == ("contract.job", HOURLY, {"a": 1}, "data_sync")
    assert abs(row.next_due - one.next_due) < timedelta(milliseconds=2)
    assert schedules.due()[0] == []


def test_syncing_again_keeps_the_due_time_unless_the_rule_changed():
    schedules.sync([entry(in_s=10)], 1, now())
    first = kept().next_due

    schedules.sync([entry(in_s=99, payload={"new": 1})], 1, now())
    assert (kept().next_due, kept().payload) == (first, {"new": 1})

    schedules.sync([entry(in_s=99, spec=DAILY)], 1, now())
    assert kept().next_due > first


def test_what_the_configuration_no_longer_names_is_gone():
    schedules.sync([entry("a"), entry("b")], 1, now())

    schedules.sync([entry("b")], 1, now())
    change(next_due=at(-1))

    assert names() == {"b"}
    assert [row.name for row in schedules.due()[0]] == ["b"]


def test_an_older_generation_overwrites_nothing_of_a_newer_and_removes_nothing():
    assert schedules.sync([entry("report", spec=DAILY), entry("new")], 2, now()) == []

    assert schedules.sync([entry("report", spec=HOURLY), entry("own")], 1, now()) == ["new", "report"]

    assert names() == {"report", "new", "own"}
    assert (kept().spec, kept().generation) == (DAILY, 2)


def test_an_older_generation_does_not_bring_back_what_a_newer_one_removed():
    schedules.sync([entry("report"), entry("removed")], 1, now())
    schedules.sync([entry("report")], 2, now())

    schedules.sync([entry("report"), entry("removed")], 1, now())

    assert names() == {"report"}


def test_a_removed_schedule_is_not_fired_by_a_scheduler_that_read_it_before():
    schedules.sync([entry()], 1, now())
    seen = kept()
    schedules.sync([], 1, now())

    assert fire(now() + timedelta(seconds=1), seen) is False

    assert count(jobs) == 0


@pytest.mark.parametrize("generation", [2, 3], ids=["of the same generation", "of a newer one"])
def test_a_removed_schedule_that_is_named_again_begins_anew(generation):
    # Given one that was removed long ago, when it was due.
    schedules.sync([entry()], 1, now())
    schedules.sync([], 2, now())
    change(last_due=at(-7200), next_due=at(-3600))

    again = entry(in_s=10)
    schedules.sync([again], generation, now())

    # Then what it missed meanwhile is not made up for.
    assert names() == {"report"}
    assert schedules.due()[0] == []
    assert abs(kept().next_due - again.next_due) < timedelta(milliseconds=2)
    assert abs(kept().last_due - now()) < timedelta(seconds=5)
    assert kept().generation == generation


def test_a_schedule_that_was_turned_off_and_removed_is_still_off_when_it_is_named_again():
    schedules.sync([entry()], 1, now())
    change(enabled=False)
    schedules.sync([], 2, now())

    schedules.sync([entry()], 3, now())

    assert (names(), kept().enabled) == ({"report"}, False)


def test_several_schedulers_that_sync_at_once_in_any_order_agree():
    entries = [entry(name) for name in ("a", "b", "c", "d")]

    race(4, lambda number: schedules.sync(entries[number:] + entries[:number], 1, now()))

    assert names() == {"a", "b", "c", "d"}
    assert count(table) == 4


def test_a_schedule_made_by_a_call_is_not_touched_by_the_configuration():
    schedules.sync([entry("report")], 1, now())
    change(source="api")

    schedules.sync([], 2, now())
    schedules.sync([entry("report", spec=DAILY)], 2, now())

    assert (kept().spec, kept().source) == (HOURLY, "api")


def test_a_schedule_that_an_operator_turned_off_stays_off_and_is_not_due():
    schedules.sync([entry()], 1, now())
    change(enabled=False, next_due=at(-1))

    schedules.sync([entry()], 2, now())

    assert kept().enabled is False
    assert schedules.due()[0] == []
    assert fire(now()) is False


def test_a_schedule_is_due_when_its_time_has_come_by_the_clock_of_the_database():
    schedules.sync([entry()], 1, now())
    change(next_due=at(-1))

    rows, told = schedules.due()

    assert [row.name for row in rows] == ["report"]
    assert abs(told - now()) < timedelta(seconds=5)


def test_eight_schedulers_fire_a_due_time_once():
    schedules.sync([entry()], 1, now())
    due, seen = now() + timedelta(seconds=1), kept()

    fired = race(8, lambda _: fire(due, seen))

    assert fired.count(True) == 1
    assert count(jobs, jobs.c.schedule == "report") == 1
    assert abs(kept().next_due - due - timedelta(hours=1)) < timedelta(milliseconds=2)


def test_a_late_scheduler_does_not_fire_what_is_past():
    schedules.sync([entry()], 1, now())
    due = now() + timedelta(seconds=5)
    assert fire(due)

    assert fire(due) is False
    assert fire(due - timedelta(seconds=2)) is False
    assert fire(due + timedelta(hours=1))
    assert count(jobs) == 2


def test_a_rule_that_changed_since_the_row_was_read_is_not_fired_by_the_old_one():
    schedules.sync([entry(in_s=10)], 1, now())
    seen = kept()
    schedules.sync([entry(spec=DAILY, in_s=86400)], 1, now())
    changed = kept()

    assert fire(now() + timedelta(seconds=10), seen) is False

    assert kept() == changed
    assert count(jobs) == 0


def test_a_firing_that_can_not_store_its_job_does_not_move_the_schedule_on():
    schedules.sync([entry()], 1, now())
    before, due = kept(), now() + timedelta(seconds=1)
    unstorable = new_job(state=State.SCHEDULED, run_at=due, name=None)

    with pytest.raises(Exception, match=r"(?i)null"):
        schedules.fire(before, due, due + timedelta(hours=1), unstorable)

    assert kept() == before
