"""Firing what is due: the policies, on both databases, with several schedulers at it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, select, update
from structlog.testing import capture_logs

import tests.contract.jobs  # noqa: F401 (declares the jobs that schedules name)
from celadon import due, firing, schedules
from celadon.errors import LedgerUnavailable
from celadon.ledger import claims, moving
from celadon.ledger.db import at, begin, clock, end_idle_transactions, engine, reading
from celadon.ledger.tables import audit, jobs
from celadon.ledger.tables import schedules as table
from celadon.states import FINAL, State
from tests.contract.given import ON_POSTGRESQL, a_claim, a_job_that_is, change, count, race, row
from tests.contract.pointed import pointed
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")

HOUR = timedelta(hours=1)
SCHEDULERS = 4


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "_memory", {})
    monkeypatch.setattr(firing, "_turn", "")
    monkeypatch.setattr(firing, "LOOK_S", 60.0)  # How busy the machine is decides nothing here.


def now() -> datetime:
    with reading() as connection:
        return clock(connection)


def add(name: str = "report", **facts: Any) -> None:
    """A schedule that is due every hour, half an hour from now: none of its due times passes during the test."""
    when = {} if "every" in facts or "at" in facts else {"crontab": f"{(now() + HOUR / 2).minute} * * * *"}
    schedules.add(name, **{"job": "contract.inline", "payload": {"word": "w"}, **when, **facts})


def kept(name: str = "report") -> Any:
    with reading() as connection:
        return connection.execute(select(table).where(table.c.name == name)).one()


def turn(name: str = "report", **values: Any) -> None:
    with begin() as connection:
        connection.execute(update(table).where(table.c.name == name).values(**values))


def missed(times: int, name: str = "report") -> list[datetime]:
    """Let so many due times pass while no scheduler looks; those times."""
    rule = kept(name).spec
    come = due.last(rule, now() - 1000 * HOUR, now(), times)
    turn(name, next_due=come[0], last_due=come[0] - timedelta(seconds=1))
    return come


def fire(schedulers: int = SCHEDULERS) -> int:
    """Let several schedulers look at the same moment; how many jobs they made."""
    return sum(race(schedulers, lambda _: firing.fire_due().fired))


def fired(name: str = "report") -> list[datetime]:
    """The due times that have a job, in the order in which they were fired."""
    with reading() as connection:
        return list(
            connection.execute(
                select(jobs.c.due).where(jobs.c.schedule == name, jobs.c.due.is_not(None)).order_by(jobs.c.id)
            ).scalars()
        )


def job_of(moment: datetime) -> Any:
    with reading() as connection:
        return connection.execute(select(jobs).where(jobs.c.due == moment)).one()


def end(job_id: str) -> None:
    """Let the job run to its end."""
    if row(job_id).state == State.SCHEDULED:
        change(job_id, run_at=at(-1))
        moving.promote()
    claims.finish(a_claim(job_id), None)


def events(logged: list[Any]) -> list[str]:
    return [one["event"] for one in logged]


# --- what was missed


def test_of_what_was_missed_the_latest_due_time_is_fired_once_by_default():
    add()
    come = missed(5)

    assert fire() == 1

    assert fired() == [come[-1]]
    assert kept().next_due == come[-1] + HOUR
    assert fire() == 0


def test_under_all_each_due_time_has_a_job_of_its_own():
    add(missed="all")
    come = missed(5)

    assert fire() == 5

    assert sorted(fired()) == come
    assert kept().next_due == come[-1] + HOUR


def test_under_all_only_the_latest_so_many_are_made_up_for():
    add(missed="all", missed_max=3)
    come = missed(100)

    assert fire() == 3

    assert sorted(fired()) == come[-3:]


def test_a_schedule_that_makes_up_for_many_lets_the_others_have_their_turn(monkeypatch):
    monkeypatch.setattr(firing, "AT_ONCE", 3)
    add("many", missed="all", missed_max=50)
    add("one")
    come = missed(8, "many")
    missed(1, "one")

    assert firing.fire_due().fired == 3 + 1

    assert fired("many") == come[:3]
    assert len(fired("one")) == 1
    assert [firing.fire_due().fired for _ in range(3)] == [3, 2, 0]
    assert fired("many") == come


def test_a_look_that_takes_long_gives_way_and_the_next_goes_on_behind_it(monkeypatch):
    for name in ("a", "b", "unfit"):
        add(name)
        missed(1, name)
    turn("unfit", job="of.another.release")
    monkeypatch.setattr(firing, "LOOK_S", 0.0)

    looks = [firing.fire_due() for _ in range(2)]

    assert [(look.fired, look.through) for look in looks] == [(1, False), (1, False)]
    assert (len(fired("a")), len(fired("b"))) == (1, 1)
    # What can't be fired has its turn, and does not keep what comes due behind it.
    for name in ("a", "z"):
        if name == "z":
            add(name)
        turn(name, next_due=at(-1), last_due=at(-2))
    assert [firing.fire_due().fired for _ in range(3)] == [0, 1, 1]


def test_what_a_long_absence_left_is_cut_once_and_then_made_up_for_without_asking_for_all_of_it(monkeypatch):
    add(missed="all", missed_max=25)
    come = missed(100)
    asked: list[int] = []
    real = due.last
    monkeypatch.setattr(due, "last", lambda *facts: (asked.append(facts[-1]), real(*facts))[1])

    with capture_logs() as logged:
        looks = [firing.fire_due() for _ in range(3)]

    assert [(look.fired, look.through) for look in looks] == [(10, False), (10, False), (5, True)]
    assert fired() == come[-25:]
    assert asked.count(25) == 1
    (told,) = [one for one in logged if one["event"] == "schedule.left_out"]
    assert (told["why"], told["due_times"]) == ("missed", 75)
    assert [told["since"], told["up_to"]] == [one.isoformat(timespec="milliseconds") for one in (come[0], come[-26])]


def test_a_scheduler_that_dies_amid_what_it_makes_up_for_leaves_the_rest_to_the_next(monkeypatch):
    add(missed="all")
    come = missed(4)
    real, calls = firing.schedules.fire, []

    def dies(*facts: Any) -> bool:
        calls.append(facts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return bool(real(*facts))

    with monkeypatch.context() as patched:
        patched.setattr(firing.schedules, "fire", dies)
        with pytest.raises(KeyboardInterrupt):
            firing.fire_due()
    assert fired() == come[:2]

    assert fire() == 2
    assert sorted(fired()) == come


def test_under_skip_what_passed_more_than_a_minute_ago_is_left_out():
    five_minutes_ago = (now() - timedelta(minutes=5)).minute
    add(crontab=f"{five_minutes_ago} * * * *", missed="skip")
    come = missed(3)

    with capture_logs() as logged:
        assert fire() == 0

    assert kept().next_due == come[-1] + HOUR
    assert kept().last_due == come[-1]
    assert events(logged) == ["schedule.left_out"], "once, whichever scheduler it was"
    assert (logged[0]["schedule"], logged[0]["why"]) == ("report", "missed")


def test_under_skip_what_passed_just_now_is_fired():
    add(every=1, missed="skip")
    missed(3)

    assert fire(1) == 1

    assert now() - fired()[0] < timedelta(seconds=5)


@pytest.mark.parametrize(("missed_policy", "jobs_made"), [("skip", 0), ("latest", 1), ("all", 3)])
def test_no_due_time_after_the_end_is_made_up_for(missed_policy, jobs_made):
    add(missed=missed_policy)
    come = missed(6)
    turn(ends_at=come[2])

    assert fire() == jobs_made

    assert sorted(fired()) == come[:3][3 - jobs_made :]
    assert kept().next_due is None, "it has ended"


def test_the_time_of_the_end_itself_is_due_and_nothing_after_it():
    add()
    (come,) = missed(1)
    turn(ends_at=come)

    assert fire() == 1
    assert schedules.find("report").status == "ended"
    assert fire() == 0


def test_nothing_is_due_before_the_beginning():
    begin_at = now() + timedelta(days=1)
    add(starts_at=begin_at)

    assert fire() == 0
    assert kept().next_due >= begin_at - timedelta(milliseconds=1)


def test_what_came_due_during_a_pause_is_not_made_up_for():
    policies = ("skip", "latest", "all")
    for policy in policies:
        add(policy, missed=policy)
        schedules.pause(policy)
        missed(3, policy)
    assert fire() == 0

    for policy in policies:
        schedules.resume(policy)

    assert fire() == 0
    assert count(jobs) == 0


def test_a_one_off_fires_once_and_has_ended():
    add(at=now() + timedelta(days=1))
    turn(spec={"at": (now() - HOUR).isoformat(timespec="milliseconds")}, next_due=at(-3600))
    once = datetime.fromisoformat(kept().spec["at"])
    turn(next_due=once, last_due=once - HOUR)

    assert fire() == 1

    assert fired() == [once]
    assert schedules.find("report").status == "ended"
    assert schedules.preview("report") == []
    assert fire() == 0


def test_a_due_time_of_a_rule_that_has_changed_since_is_fired_and_the_new_rule_goes_on_from_there():
    add()
    before = kept()
    pending = now().replace(microsecond=0) - timedelta(seconds=2)
    turn(spec={"every_s": 86400.0}, next_due=pending, last_due=before.last_due - timedelta(days=2))

    assert fire() == 1

    (moment,) = fired()
    assert moment in (pending, due.latest({"every_s": 86400.0}, now()))
    assert kept().next_due == due.following({"every_s": 86400.0}, moment)


# --- what overlaps

ACTIVE = [State.SCHEDULED, State.WAITING, State.QUEUED, State.PARKED, State.RUNNING]


def previous(state: State, overlap: str, name: str = "report", **facts: Any) -> str:
    """A schedule whose previous job is in this state; the job's id."""
    add(name, overlap=overlap, **facts)
    job_id = a_job_that_is(state, "contract.inline")
    turn(name, last_job=job_id)
    return job_id


def test_under_allow_it_is_fired_whatever_the_previous_job_does():
    for state in ACTIVE:
        previous(state, "allow", state)
    come = {state: missed(1, state) for state in ACTIVE}

    assert fire() == len(ACTIVE)
    assert {state: fired(state) for state in ACTIVE} == come


def test_under_skip_a_due_time_is_left_out_while_the_previous_job_has_not_ended():
    job_ids = {state: previous(state, "skip", state) for state in ACTIVE}
    come = {state: missed(1, state)[0] for state in ACTIVE}

    with capture_logs() as logged:
        assert fire() == 0

    assert events(logged) == ["schedule.left_out"] * len(ACTIVE)
    told = {one["schedule"]: one for one in logged}
    for state in ACTIVE:
        assert fired(state) == []
        assert kept(state).next_due == come[state] + HOUR
        assert (told[state]["why"], told[state]["previous"]) == ("overlap", job_ids[state])
        assert told[state]["up_to"] == come[state].isoformat(timespec="milliseconds")
        assert row(job_ids[state]).state == state


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_it_is_fired_when_the_previous_job_has_ended_or_its_row_is_gone(overlap):
    names = [*sorted(FINAL), "gone"]
    job_ids = [previous(State.SUCCEEDED if name == "gone" else State(name), overlap, name) for name in names]
    with begin() as connection:
        connection.execute(delete(jobs).where(jobs.c.id == job_ids[-1]))
    come = {name: missed(1, name) for name in names}

    assert fire() == len(names)

    for name in names:
        assert fired(name) == come[name]
        assert row(kept(name).last_job).schedule == name


@pytest.mark.parametrize("missed_policy", ["skip", "latest"])
def test_under_queue_the_latest_due_time_is_fired_as_soon_as_the_previous_job_has_ended(missed_policy):
    job_id = previous(State.RUNNING, "queue", missed=missed_policy)
    change(job_id, state=State.QUEUED)
    come = missed(3)
    assert fire() == 0
    assert kept().next_due == come[0], "it waits"

    end(job_id)

    assert fire() == 1
    assert fired() == [come[-1]]


def test_under_queue_what_passed_after_the_previous_job_had_ended_was_missed():
    five_minutes_ago = (now() - timedelta(minutes=5)).minute
    job_id = previous(State.SUCCEEDED, "queue", crontab=f"{five_minutes_ago} * * * *", missed="skip")
    change(job_id, finished_at=at(-86400))
    missed(1)

    assert fire() == 0
    assert fired() == []


def test_what_nobody_was_there_for_after_the_previous_job_had_ended_was_missed_too():
    # Given jobs that ended a moment after the next due time, and then no scheduler for half an hour.
    for overlap in ("skip", "queue", "replace"):
        job_id = previous(State.SUCCEEDED, overlap, overlap, missed="skip")
        (come,) = missed(1, overlap)
        change(job_id, finished_at=come + timedelta(seconds=1))

    assert fire() == 0

    for overlap in ("skip", "queue", "replace"):
        assert fired(overlap) == []
        assert kept(overlap).next_due > now()


def test_under_skip_and_skip_nothing_is_fired_late_for_the_end_of_the_previous_job():
    job_id = previous(State.SUCCEEDED, "skip", missed="skip")
    missed(1)
    change(job_id, finished_at=at())

    assert fire() == 0


def test_under_queue_and_all_the_due_times_are_fired_one_after_another_in_order():
    job_id = previous(State.QUEUED, "queue", missed="all")
    come = missed(3)

    for number in range(3):
        assert fire() == 0
        end(job_id)
        assert fire() == 1
        assert fired() == come[: number + 1]
        job_id = kept().last_job
    end(job_id)
    assert fire() == 0


def test_under_replace_a_job_that_has_not_begun_is_cancelled_and_the_next_fired_at_once():
    job_id = previous(State.QUEUED, "replace")
    come = missed(2)

    assert fire() == 1

    assert fired() == [come[-1]]
    assert row(job_id).state == State.CANCELLED
    assert row(job_id).error_message == "by schedule report"


@ON_POSTGRESQL
def test_a_job_whose_row_somebody_holds_is_replaced_later_and_keeps_no_scheduler_waiting():
    job_id = previous(State.QUEUED, "replace")
    missed(2)

    with begin() as frozen:
        frozen.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
        with capture_logs() as told:
            assert firing.fire_due().fired == 0
        assert [one["job_id"] for one in told if one["event"] == "schedule.not_replaced_yet"] == [job_id]

    firing.fire_due()
    assert row(job_id).state == State.CANCELLED


def test_under_replace_a_running_job_is_asked_once_and_the_next_fired_when_it_has_ended():
    add(overlap="replace", missed="skip")
    claim = a_claim()
    turn(last_job=claim.job_id)
    come = missed(2)

    for _ in range(3):
        assert fire(1) == 0
    assert row(claim.job_id).cancel_requested
    with reading() as connection:
        assert connection.execute(select(audit.c.action).where(audit.c.subject == claim.job_id)).scalars().all() == [
            "cancel"
        ]
    assert kept().next_due == come[0]

    claims.end_cancelled(claim)

    assert fire() == 1
    assert fired() == [come[-1]], "it waited, and nobody missed it"


def test_a_job_that_was_run_by_hand_counts_as_the_previous_one():
    add(overlap="skip")
    schedules.run_now("report")
    missed(1)

    assert fire() == 0


# --- jitter


def test_with_jitter_a_job_runs_within_its_bound_after_the_due_time():
    add(jitter_s=900, missed="all", missed_max=30)
    come = missed(30)
    while fire():
        pass

    late = [job_of(moment).run_at - moment for moment in come]
    assert late == [due.jitter("report", moment, 900) for moment in come]
    assert all(timedelta(0) <= one < timedelta(minutes=15) for one in late)
    assert len(set(late)) > 25


def test_a_job_that_jitter_holds_back_is_not_promoted_before():
    add(jitter_s=1e6)
    missed(1)
    fire()

    assert moving.promote() == 0
    assert now() < job_of(fired()[0]).run_at


# --- what can't be fired


def test_a_schedule_of_a_job_that_is_not_known_here_is_left_to_a_scheduler_that_knows_it():
    add()
    come = missed(3)
    turn(job="of.another.release")

    with capture_logs() as logged:
        assert [firing.fire_due().fired for _ in range(5)] == [0] * 5

    assert events(logged) == ["schedule.unfit"], "not at every tick"
    assert (logged[0]["schedule"], logged[0]["job"]) == ("report", "of.another.release")
    assert kept().next_due == come[0]

    turn(job="contract.inline")
    assert fire() == 1
    assert fired() == [come[-1]]


def test_a_schedule_whose_payload_fits_no_longer_is_not_lost():
    add()
    come = missed(1)
    turn(payload={"wort": "w"})

    with capture_logs() as logged:
        assert [firing.fire_due().fired for _ in range(3)] == [0] * 3
    assert events(logged) == ["schedule.unfit"]
    assert "wort: Extra inputs" in logged[0]["error"]

    turn(payload={"word": "w"})
    assert fire() == 1
    assert fired() == come


def test_it_is_told_again_after_a_minute_that_a_schedule_can_not_be_fired(monkeypatch):
    add()
    missed(1)
    turn(job="of.another.release")

    with capture_logs() as logged:
        firing.fire_due()
        monkeypatch.setattr(firing._memory["report"], "tell_at", 0.0)
        firing.fire_due()

    assert events(logged) == ["schedule.unfit"] * 2


def test_a_schedule_that_fails_does_not_keep_the_others():
    for name in ("bad", "unfit", "good"):
        add(name)
        missed(1, name)
    turn("bad", spec={"no such": "rule"})
    turn("unfit", job="of.another.release")

    with capture_logs() as logged:
        assert firing.fire_due().fired == 1
        assert firing.fire_due().fired == 0

    assert fired("good") != []
    assert sorted(events(logged)) == ["schedule.failed", "schedule.fired", "schedule.unfit"]


def test_a_due_time_that_was_fired_before_the_schedule_was_made_anew_is_not_fired_again():
    add()
    come = missed(1)
    assert fire() == 1
    schedules.remove("report")
    add()
    turn(next_due=come[0], last_due=come[0] - HOUR)

    assert fire() == 0

    assert fired() == come
    assert kept().next_due == come[0] + HOUR


def test_a_job_that_can_not_be_stored_is_not_taken_for_one_that_was(monkeypatch):
    add()
    come = missed(1)
    real = firing._job

    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr(firing, "_job", lambda *facts: replace(real(*facts), name=None))
        assert firing.fire_due().fired == 0

    assert events(logged) == ["schedule.failed"]
    assert fire() == 1
    assert fired() == come


# --- what it costs and what it makes


@contextmanager
def commits() -> Iterator[list[int]]:
    """How many writing transactions this process commits."""
    written: list[int] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE schedules"):
            written.append(1)

    event.listen(engine(), "before_cursor_execute", note)
    yield written
    event.remove(engine(), "before_cursor_execute", note)


def test_firing_costs_one_transaction_for_each_due_time():
    add(missed="all")
    missed(5)

    with commits() as written:
        assert firing.fire_due().fired == 5

    assert len(written) == 5


def test_the_job_of_a_due_time_is_made_as_declared_and_promoted_in_the_same_tick():
    add("orders", job="contract.deferred", payload={"order_id": "7"}, queue="default")
    (come,) = missed(1, "orders")
    fire()

    job = job_of(come)
    assert (job.name, job.payload, job.queue, job.scope, job.schedule) == (
        "contract.deferred",
        {"order_id": "7"},
        "default",
        "order:7",
        "orders",
    )
    assert (job.state, job.run_at) == (State.SCHEDULED, come)
    assert job.size == len('{"order_id":"7"}')
    assert moving.promote() == 1
    assert row(job.id).state == State.QUEUED


def test_many_schedules_and_many_schedulers_make_each_due_time_one_job():
    names = [f"s{number}" for number in range(8)]
    for number, name in enumerate(names):
        add(name, missed=("latest", "all")[number % 2], overlap=("allow", "queue")[number // 2 % 2])
        missed(3, name)

    fire()

    for number, name in enumerate(names):
        once = number % 2 == 0 or number // 2 % 2 == 1
        assert len(fired(name)) == (1 if once else 3)


# --- a schedule that is changed between a scheduler's look and its firing


CHANGES: dict[str, Any] = {
    "its rule": {"every": 60},
    "its payload": {"payload": {"word": "new"}},
    "its queue": {"queue": "data_sync"},
    "its jitter": {"jitter_s": 1},
    "its policy": {"missed": "skip"},
}


def test_a_late_firing_of_what_has_been_edited_since_fires_nothing(monkeypatch):
    for name in CHANGES:
        add(name)
        missed(1, name)
    seen = firing.schedules.due_now()
    assert [each.name for each in seen] == sorted(CHANGES)
    for name, changes in CHANGES.items():
        schedules.edit(name, **changes)
    after = {name: kept(name) for name in CHANGES}

    monkeypatch.setattr(firing.schedules, "due_now", lambda _turn: seen)
    assert firing.fire_due().fired == 0

    assert {name: kept(name) for name in CHANGES} == after
    assert count(jobs) == 0


def test_a_late_firing_of_one_that_was_removed_and_made_anew_fires_nothing(monkeypatch):
    add()
    (come,) = missed(1)
    (seen,) = firing.schedules.due_now()
    schedules.remove("report")
    add(payload={"word": "new"})
    turn(next_due=come, last_due=come - timedelta(seconds=1))

    with monkeypatch.context() as patched:
        patched.setattr(firing.schedules, "due_now", lambda _turn: [seen])
        assert firing.fire_due().fired == 0

    assert fire() == 1
    assert job_of(come).payload == {"word": "new"}


# --- a scheduler that is frozen


@ON_POSTGRESQL
def test_a_schedule_that_a_frozen_scheduler_has_locked_holds_up_no_other():
    for name in ("locked", "free"):
        add(name)
        missed(1, name)

    with begin() as frozen:
        frozen.execute(select(table.c.name).where(table.c.name == "locked").with_for_update())

        assert fire() == 1
        assert (len(fired("free")), len(fired("locked"))) == (1, 0)

    assert fire() == 1
    assert len(fired("locked")) == 1


@ON_POSTGRESQL
def test_a_schedule_that_stays_locked_is_told(monkeypatch):
    add("locked")
    missed(1, "locked")
    monkeypatch.setattr(firing, "HELD_S", 0.0)

    with begin() as frozen, capture_logs() as logged:
        frozen.execute(select(table.c.name).with_for_update())
        for _ in range(5):
            firing.fire_due()

    assert events(logged) == ["schedule.held"], "once, and not at every tick"
    assert logged[0]["schedule"] == "locked"


@ON_POSTGRESQL
def test_what_a_frozen_scheduler_has_locked_is_free_again_after_a_while(ledger):
    add()
    missed(1)
    with pointed(ledger_url=ledger):  # With connections of their own, as a Beat makes them.
        end_idle_transactions(0.2)

        with pytest.raises(LedgerUnavailable), begin() as frozen:
            frozen.execute(select(table.c.name).where(table.c.name == "report").with_for_update())
            assert eventually("it is fired by another", fire) == 1
            clock(frozen)
