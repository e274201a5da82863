"""Beat's scheduler on the ledger: it syncs, fires and does the chores, tick by tick, and nothing ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event, select, update
from structlog.testing import capture_logs

from celadon import app, beat, queues
from celadon.errors import UnknownJob
from celadon.firing import Looked
from celadon.ledger import moving, presence, schedules
from celadon.ledger.db import at, begin, clock, engine, reading
from celadon.ledger.schedules import Synced
from celadon.ledger.tables import jobs, workers
from celadon.ledger.tables import schedules as table
from celadon.states import State
from tests.contract.given import a_job, change, count, row
from tests.contract.pointed import pointed
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the operator's file say this about schedules."""

    def say(**entries: Any) -> None:
        monkeypatch.setattr(queues.operators_file(), "beat_schedule", entries)

    return say


def overdue(seconds: float) -> None:
    with begin() as connection:
        connection.execute(update(table).values(next_due=at(-seconds), last_due=at(-seconds - 1)))


def fired() -> list[Any]:
    with reading() as connection:
        return list(connection.execute(select(jobs).order_by(jobs.c.due)).all())


def of_schedules(logged: Sequence[Any]) -> list[Any]:
    return [one for one in logged if one["event"].startswith("schedules.")]


def test_a_scheduler_says_which_schedules_it_leaves_to_others(declare, monkeypatch):
    declare(often={"task": "unit.deferred", "schedule": 60}, own={"task": "unit.deferred", "schedule": 60})
    monkeypatch.setattr(queues.operators_file(), "beat_generation", 3, raising=False)
    with capture_logs() as logged:
        beat.sync()
    assert of_schedules(logged) == []
    monkeypatch.setattr(queues.operators_file(), "beat_generation", 2)
    with begin() as connection:
        connection.execute(update(table).where(table.c.name == "own").values(source="api"))

    with capture_logs() as logged:
        beat.sync()

    newer = {"schedules": ["often"], "generation": 2, "event": "schedules.newer", "log_level": "warning"}
    taken = {"schedules": ["own"], "event": "schedules.taken", "log_level": "warning"}
    assert of_schedules(logged) == [newer, taken]


def test_a_scheduler_says_what_it_removes_and_that_two_configurations_have_one_generation(declare):
    declare(often={"task": "unit.deferred", "schedule": 60}, gone={"task": "unit.deferred", "schedule": 60})
    beat.sync()
    declare(often={"task": "unit.deferred", "schedule": 90})

    with capture_logs() as logged:
        beat.sync()

    removed, disputed = of_schedules(logged)
    assert (removed["event"], removed["schedules"]) == ("schedules.removed", ["gone"])
    assert (disputed["event"], disputed["schedules"]) == ("schedules.disputed", ["gone", "often"])
    assert "raise beat_generation" in disputed["cure"]


def test_a_scheduler_does_not_begin_with_a_schedule_that_can_not_be(declare):
    declare(bad={"task": "unit.defered", "schedule": 60})

    with pytest.raises(UnknownJob, match="did you mean 'unit.deferred'"):
        beat.LedgerScheduler(app=app.app)

    # Nothing was begun that would have to be stopped.
    assert no_sender()


def test_a_scheduler_does_not_begin_with_a_limit_that_holds_nobody(declare, monkeypatch):
    declare()
    monkeypatch.setattr(queues.operators_file(), "limits", {"job unit.defered": [{"concurrency": 1}]})

    with pytest.raises(UnknownJob, match="did you mean 'unit.deferred'"):
        beat.LedgerScheduler(app=app.app)

    assert no_sender()


def no_sender() -> bool:
    return "celadon-sender" not in [one.name for one in threading.enumerate()]


def test_a_scheduler_begins_while_the_ledger_is_away(declare):
    declare(often={"task": "unit.deferred", "schedule": 60})

    with pointed(ledger_url="sqlite:////no/such/folder/x.db"):
        made = beat.LedgerScheduler(app=app.app)
        pause_s = made.tick()
        made.close()
        eventually("its sender has ended", no_sender)

    assert pause_s > 0, "it waits for the ledger, and neither ends nor spins"


@pytest.fixture
def scheduler(declare: Any) -> Iterator[beat.LedgerScheduler]:
    declare(often={"task": "unit.deferred", "schedule": 60})
    made = beat.LedgerScheduler(app=app.app)
    yield made
    made.close()
    eventually("its sender has ended", no_sender)
    eventually("its chores aside are over", lambda: not any(one.locked() for one in made._chores._aside.values()))


def test_one_tick_syncs_fires_and_promotes(scheduler):
    scheduler.tick()
    overdue(1)

    pause = scheduler.tick()

    (job,) = fired()
    assert row(job.id).state == State.QUEUED
    assert 0 < pause <= 1
    assert [one.lane for one in presence.alive()] == ["beat"]


def test_a_scheduler_whose_sync_meets_a_row_that_is_held_does_its_work_and_tries_again(scheduler, monkeypatch):
    real, held = schedules.sync, [["often"], ["often"]]
    monkeypatch.setattr(schedules, "sync", lambda *facts: Synced(busy=held.pop()) if held else real(*facts))
    change(a_job(state=State.SCHEDULED, delay_s=60.0), run_at=at(-1))

    with capture_logs() as logged:
        scheduler.tick()
        assert count(jobs, jobs.c.state == State.QUEUED) == 1
        assert [one.lane for one in presence.alive()] == ["beat"]
        scheduler.tick()
        assert count(table) == 0
        scheduler.tick()

    assert count(table) == 1
    assert [one["event"] for one in of_schedules(logged)] == ["schedules.busy"]


def test_while_more_is_due_there_is_no_pause(scheduler, monkeypatch):
    looks = [Looked(fired=1, through=False), Looked(fired=0, through=False), Looked(fired=1, through=True)]
    monkeypatch.setattr(beat, "fire_due", lambda: looks.pop(0))

    pauses = [scheduler.tick() for _ in range(3)]

    assert pauses[0] == 0 < min(pauses[1:]), "unless nothing of it can be fired"


def test_a_scheduler_outlives_a_ledger_that_is_away(scheduler, ledger):
    with pointed(ledger_url="sqlite:////no/such/folder/x.db"):
        assert scheduler.tick() > 0

    scheduler.tick()
    assert count(table) == 1


def test_no_error_of_any_kind_ends_a_scheduler(scheduler, monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(beat, "fire_due", fail)

    assert scheduler.tick() > 0


def test_while_there_is_more_to_promote_there_is_no_pause(scheduler, monkeypatch):
    monkeypatch.setattr(moving, "BATCH", 3)
    monkeypatch.setattr(moving.promote, "__defaults__", (3,))
    for _ in range(4):
        change(a_job(state=State.SCHEDULED, delay_s=60.0), run_at=at(-1))

    pauses = [scheduler.tick(), scheduler.tick()]

    assert pauses[0] == 0 < pauses[1]
    assert count(jobs, jobs.c.state == State.QUEUED) == 4


def test_a_scheduler_is_stopped_in_the_midst_of_a_transaction_without_a_word_to_the_ledger(scheduler):
    scheduler.tick()
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            asked.append(statement)

    # Celery stops Beat in a signal handler: whatever this thread was doing, it is still in the middle of it.
    with begin() as connection:
        event.listen(engine(), "before_cursor_execute", note)
        scheduler.close()
        event.remove(engine(), "before_cursor_execute", note)
        assert clock(connection)

    assert asked == []
    # It is taken for gone when nothing has been heard of it for a while.
    assert [one.lane for one in presence.alive()] == ["beat"]
    with begin() as connection:
        connection.execute(update(workers).values(last_seen=at(-16)))
    assert presence.alive() == []


def test_a_scheduler_that_stops_waits_for_no_sender_that_may_wait_for_its_transaction(scheduler, monkeypatch):
    sending, go_on = threading.Event(), threading.Event()

    def turn() -> None:
        sending.set()
        go_on.wait(10)

    monkeypatch.setattr(scheduler._sender, "turn", turn)
    scheduler._sender.wake()
    assert sending.wait(5)

    began = time.monotonic()
    scheduler.close()

    assert time.monotonic() - began < 1
    go_on.set()
