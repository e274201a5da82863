"""Schedules as rows: the configuration that wins, and what moves a row on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import IntegrityError

from celadon.due import following
from celadon.ledger import schedules
from celadon.ledger.db import at, begin, clock, engine, reading
from celadon.ledger.schedules import Entry, Synced
from celadon.ledger.tables import jobs
from celadon.ledger.tables import schedules as table
from celadon.states import State
from tests.contract.given import ON_POSTGRESQL, count, new_job, race

pytestmark = pytest.mark.usefixtures("ledger")

HOURLY, DAILY = {"every_s": 3600.0}, {"every_s": 86400.0}


def now() -> datetime:
    with reading() as connection:
        return clock(connection)


def entry(name: str = "report", *, spec: Any = HOURLY, **facts: Any) -> Entry:
    return Entry(**{"name": name, "job": "contract.job", "spec": spec, "payload": {}, **facts})


def sync(*entries: Entry, generation: int = 1) -> Synced:
    """As a Beat does: again, for as long as somebody else is at a row."""
    while (synced := schedules.sync(entries, generation)).busy:
        pass
    return synced


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


@contextmanager
def statements() -> Iterator[list[str]]:
    """What this process asks the database, with its parameters written out."""
    asked: list[str] = []

    def note(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        asked.append(re.sub(r"%\(\w+\)s(::\w+( \w+)*)?|\?", "{}", statement).format(*map(repr, values)))

    event.listen(engine(), "before_cursor_execute", note)
    yield asked
    event.remove(engine(), "before_cursor_execute", note)


def fire(due: datetime, seen: Any = None) -> bool:
    """Fire it as a scheduler does that read the row just now, or as it was `seen`."""
    row = seen or kept()
    new = new_job(state=State.SCHEDULED, run_at=due, schedule="report", due=due)
    return schedules.fire(row, row.next_due, due, due + timedelta(hours=1), new)


def due_names() -> list[str]:
    return [row.name for row in schedules.due_now()]


def hourly_after(moment: datetime) -> datetime:
    due = following(HOURLY, moment)
    assert due is not None
    return due


# --- what the configuration says


def test_a_new_schedule_is_due_first_at_its_next_time():
    sync(entry(payload={"a": 1}, queue="data_sync", missed="all", missed_max=3, overlap="queue", jitter_s=1.5))

    row = kept()
    assert (row.job, row.spec, row.payload, row.queue) == ("contract.job", HOURLY, {"a": 1}, "data_sync")
    assert (row.missed, row.missed_max, row.overlap, row.jitter_s) == ("all", 3, "queue", 1.5)
    assert row.next_due == hourly_after(row.last_due)
    assert abs(row.last_due - now()) < timedelta(seconds=5)
    assert due_names() == []


def test_syncing_again_keeps_the_due_time_unless_the_rule_changed():
    sync(entry())
    change(next_due=at(10))
    first = kept().next_due

    sync(entry(payload={"new": 1}, missed="skip", jitter_s=5.0))
    assert (kept().next_due, kept().payload, kept().missed, kept().jitter_s) == (first, {"new": 1}, "skip", 5.0)

    sync(entry(spec=DAILY))
    assert kept().next_due > first


@pytest.mark.parametrize("bound", ["starts_at", "ends_at"])
def test_another_beginning_or_end_is_another_rule(bound):
    sync(entry())
    bounds = {bound: now().replace(microsecond=0) + timedelta(days=3)}

    sync(entry(**bounds))
    first = kept().next_due
    change(next_due=at(10))
    sync(entry(**bounds))

    assert (first > now() + timedelta(days=2)) == (bound == "starts_at")
    assert kept().next_due < now() + timedelta(seconds=11), "the same bounds again are no change"


def test_a_due_time_that_has_come_is_not_lost_when_the_rule_changes():
    sync(entry())
    change(next_due=at(-1))
    come = kept().next_due

    sync(entry(spec=DAILY), generation=2)

    assert (kept().next_due, kept().spec) == (come, DAILY)
    assert due_names() == ["report"]


@pytest.mark.parametrize("old", [DAILY, {"at": "2020-01-01T00:00:00.000+00:00"}], ids=["daily", "once"])
def test_a_late_firing_of_the_old_rule_writes_nothing_over_the_new_one(old):
    sync(entry(spec=old))
    change(next_due=at(-1), last_due=at(-86400))
    seen = kept()
    sync(entry(spec=HOURLY), generation=2)
    changed = kept()

    late = new_job(state=State.SCHEDULED, schedule="report", due=seen.next_due)
    assert schedules.fire(seen, seen.next_due, seen.next_due, following(old, now()), late) is False
    assert schedules.leave_out(seen, seen.next_due, seen.next_due, None) is False

    assert kept() == changed
    assert (changed.next_due, changed.spec, count(jobs)) == (seen.next_due, HOURLY, 0)


def test_a_sync_that_changes_nothing_writes_nothing():
    sync(entry("a", payload={"n": 1}, jitter_s=1.5, ends_at=datetime(2199, 1, 1, tzinfo=UTC)), entry("b"))
    sync(entry("a", payload={"n": 1}, jitter_s=1.5, ends_at=datetime(2199, 1, 1, tzinfo=UTC)))

    with statements() as asked:
        sync(entry("a", payload={"n": 1}, jitter_s=1.5, ends_at=datetime(2199, 1, 1, tzinfo=UTC)))

    assert [one for one in asked if "UPDATE" in one or "INSERT" in one] == []


def test_a_sync_tells_what_it_removes_and_what_another_of_its_generation_disputes():
    sync(entry("a"), entry("b"), entry("c"))

    assert sync(entry("a"), entry("c", payload={"new": 1})) == Synced(removed=["b"], disputed=["b", "c"])
    assert sync(entry("a"), entry("b"), entry("c"), generation=2) == Synced()
    assert sync(entry("a"), generation=3) == Synced(removed=["b", "c"])
    assert sync(entry("a"), generation=3) == Synced()


@ON_POSTGRESQL
def test_a_sync_waits_for_nobody_who_holds_a_schedule():
    sync(entry("a"), entry("b"), entry("c"))
    entries = [entry("a", spec=DAILY), entry("c", spec=DAILY), entry("new")]

    with begin() as frozen:
        frozen.execute(select(table).where(table.c.name != "c").with_for_update())

        assert schedules.sync(entries, 2) == Synced(busy=["a", "b"])
        assert (kept("a").spec, kept("c").spec) == (HOURLY, DAILY)
        assert names() == {"a", "b", "c", "new"}

    assert schedules.sync(entries, 2) == Synced(removed=["b"])
    assert (kept("a").spec, names()) == (DAILY, {"a", "c", "new"})


def test_a_paused_schedule_whose_rule_changes_has_nothing_to_make_up_for():
    sync(entry())
    change(next_due=at(-1), enabled=False)

    sync(entry(spec=DAILY), generation=2)

    assert kept().next_due > now()


def test_what_the_configuration_no_longer_names_is_gone():
    sync(entry("a"), entry("b"))

    sync(entry("b"))
    change(next_due=at(-1))

    assert names() == {"b"}
    assert due_names() == ["b"]


def test_an_older_generation_overwrites_nothing_of_a_newer_and_removes_nothing():
    assert sync(entry("report", spec=DAILY), entry("new"), generation=2) == Synced()

    assert sync(entry("report", spec=HOURLY), entry("own")).newer == ["new", "report"]

    assert names() == {"report", "new", "own"}
    assert (kept().spec, kept().generation) == (DAILY, 2)


def test_an_older_generation_does_not_bring_back_what_a_newer_one_removed():
    sync(entry("report"), entry("removed"))
    sync(entry("report"), generation=2)

    sync(entry("report"), entry("removed"))

    assert names() == {"report"}


@pytest.mark.parametrize("generation", [2, 3], ids=["of the same generation", "of a newer one"])
def test_a_removed_schedule_that_is_named_again_begins_anew(generation):
    # Given one that was removed long ago, when it was due.
    sync(entry())
    sync(generation=2)
    change(last_due=at(-7200), next_due=at(-3600))

    sync(entry(), generation=generation)

    # Then what it missed meanwhile is not made up for.
    assert names() == {"report"}
    assert due_names() == []
    assert kept().next_due == hourly_after(kept().last_due)
    assert abs(kept().last_due - now()) < timedelta(seconds=5)
    assert kept().generation == generation


def test_a_schedule_that_was_paused_and_removed_is_still_paused_when_it_is_named_again():
    sync(entry())
    change(enabled=False)
    sync(generation=2)

    sync(entry(), generation=3)

    assert (names(), kept().enabled) == ({"report"}, False)


def test_several_schedulers_that_sync_at_once_in_any_order_agree():
    entries = [entry(name) for name in ("a", "b", "c", "d")]

    race(4, lambda number: sync(*entries[number:], *entries[:number]))

    assert names() == {"a", "b", "c", "d"}
    assert count(table) == 4


def test_schedulers_of_two_generations_that_sync_at_once_agree_on_the_newer():
    race(6, lambda number: sync(entry(spec=DAILY if number % 2 else HOURLY), generation=1 + number % 2))

    assert (kept().spec, kept().generation) == (DAILY, 2)


def test_a_schedule_made_by_a_call_is_not_touched_by_the_configuration():
    sync(entry("report"))
    change(source="api")

    sync(generation=2)
    left = sync(entry("report", spec=DAILY), generation=2)

    assert (kept().spec, kept().source) == (HOURLY, "api")
    assert left.taken == ["report"]


def test_a_schedule_that_an_operator_paused_stays_so_and_is_not_due():
    sync(entry())
    change(enabled=False, next_due=at(-1))

    sync(entry(), generation=2)

    assert kept().enabled is False
    assert due_names() == []
    assert fire(now()) is False


# --- what is due


def test_a_schedule_is_due_when_its_time_has_come_by_the_clock_of_the_database():
    sync(entry())
    change(next_due=at(-1))

    (row,) = schedules.due_now()

    assert row.name == "report"
    assert abs(row.now - now()) < timedelta(seconds=5)


def test_of_a_thousand_schedules_that_are_not_due_one_query_reads_none(database):
    with begin() as connection:
        row = {"job": "contract.job", "spec": HOURLY, "payload": {}, "source": "api", "last_due": at()}
        for number in range(1000):
            connection.execute(table.insert().values(name=f"s{number}", next_due=at(3600 + number), **row))
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE schedules"))

    with statements() as asked:
        assert schedules.due_now() == []

    (statement,) = [one for one in asked if one.startswith("SELECT")]
    with reading() as connection:
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        plans = [str(line) for line in connection.exec_driver_sql(explain + statement)]
    assert any("ix_schedules_next_due" in line for line in plans), plans


# --- firing


def test_eight_schedulers_fire_a_due_time_once():
    sync(entry())
    due, seen = now() + timedelta(seconds=1), kept()

    fired = race(8, lambda _: fire(due, seen))

    assert fired.count(True) == 1
    assert count(jobs, jobs.c.schedule == "report") == 1
    assert abs(kept().next_due - due - timedelta(hours=1)) < timedelta(milliseconds=2)


def test_a_schedule_remembers_whom_it_fired_last():
    sync(entry())

    assert fire(now() + timedelta(seconds=1))

    with reading() as connection:
        assert kept().last_job == connection.execute(select(jobs.c.id)).scalar_one()


def test_a_late_scheduler_does_not_fire_what_is_past():
    sync(entry())
    due = now() + timedelta(seconds=5)
    assert fire(due)

    assert fire(due) is False
    assert fire(due - timedelta(seconds=2)) is False
    assert fire(due + timedelta(hours=1))
    assert count(jobs) == 2


def test_a_rule_that_changed_since_the_row_was_read_is_not_fired_by_the_old_one():
    sync(entry())
    change(next_due=at(10))
    seen = kept()
    sync(entry(spec=DAILY))
    changed = kept()

    assert fire(now() + timedelta(seconds=10), seen) is False

    assert kept() == changed
    assert count(jobs) == 0


def test_a_removed_schedule_is_not_fired_by_a_scheduler_that_read_it_before():
    sync(entry())
    seen = kept()
    sync()

    assert fire(now() + timedelta(seconds=1), seen) is False

    assert count(jobs) == 0


def test_a_schedule_that_was_run_by_hand_since_is_not_fired_where_jobs_may_not_overlap():
    sync(entry(overlap="skip"))
    seen = kept()
    change(last_job="01a2")

    assert fire(now() + timedelta(seconds=1), seen) is False
    assert fire(now() + timedelta(seconds=1)) is True


def test_a_firing_that_can_not_store_its_job_does_not_move_the_schedule_on():
    sync(entry())
    before, due = kept(), now() + timedelta(seconds=1)
    unstorable = new_job(state=State.SCHEDULED, run_at=due, name=None)

    with pytest.raises(IntegrityError, match=r"(?i)null"):
        schedules.fire(before, before.next_due, due, due + timedelta(hours=1), unstorable)

    assert kept() == before


def test_a_due_time_that_has_a_job_gets_no_other():
    sync(entry())
    due = now() + timedelta(seconds=1)
    fire(due)
    change(last_due=at(-10), next_due=at(-5))
    before = kept()

    with pytest.raises(IntegrityError):
        fire(due)

    assert kept() == before


def test_what_is_left_out_moves_the_schedule_on_without_a_job():
    sync(entry())
    row, due = kept(), now() + timedelta(seconds=1)

    left_out = race(4, lambda _: schedules.leave_out(row, row.next_due, due, None))

    assert left_out.count(True) == 1
    assert kept().next_due is None
    assert count(jobs) == 0
