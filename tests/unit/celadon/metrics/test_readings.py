"""What is read anew for each look: the ledger's counts."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from celadon import queues
from celadon.ledger import limits, schedules, switches
from celadon.ledger.db import at, begin
from celadon.ledger.schedules import Entry
from celadon.ledger.tables import schedules as table
from celadon.limits import Limit
from celadon.metrics import readings
from celadon.metrics.readings import Ledger
from celadon.states import State
from tests.contract.given import a_job, a_job_that_is, change

pytestmark = pytest.mark.usefixtures("ledger")


def told(ledger: Ledger) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value for family in ledger.collect() for sample in family.samples
    }


def test_the_ledgers_counts_are_told_as_they_were_taken() -> None:
    for state in State:
        a_job_that_is(state)
    for seconds in (3, 90):
        change(a_job(queue="data_sync"), queued_at=at(-seconds))
    ledger = Ledger()
    assert told(ledger) == {}

    ledger.take()
    a_job()

    counted = told(ledger)
    assert {state: counted["celadon_jobs", state] for state in State} == {**dict.fromkeys(State, 1), State.QUEUED: 3}
    queued = {queue: counted["celadon_queue_jobs", queue] for queue in queues.names()}
    assert {queue: number for queue, number in queued.items() if number} == {"default": 1, "data_sync": 2}
    assert queued["scheduled"] == queued["email"] == 0  # One of the operator's file, one of the registration file.
    assert 90 <= counted["celadon_queue_oldest_age_seconds", "data_sync"] < 95
    assert counted["celadon_queue_oldest_age_seconds", "scheduled"] == 0


def test_who_waits_at_a_limit_or_a_pause_is_told_by_gate_but_not_by_tenant() -> None:
    limits.set_limits("queue", "data_sync", [Limit(concurrency=1)], actor="test")
    switches.pause("job", "contract.job", actor="test")
    switches.pause("tenant", "acme", actor="test")
    a_job(queue="data_sync", tenant="acme")
    a_job()
    ledger = Ledger()

    ledger.take()

    waiting = {name[1:]: number for name, number in told(ledger).items() if name[0] == "celadon_gate_waiting"}
    assert waiting == {("queue", "data_sync"): 1, ("job", "contract.job"): 2}


def test_schedules_that_came_due_long_ago_and_have_not_fired_are_counted() -> None:
    entries = [Entry(name=name, job="contract.job", spec={"every_s": 60.0}, payload={}) for name in ("a", "b", "c")]
    schedules.sync(entries, 1)
    with begin() as connection:
        for name, seconds in (("a", 90), ("b", 5)):
            connection.execute(update(table).where(table.c.name == name).values(next_due=at(-seconds)))
    ledger = Ledger()

    ledger.take()

    assert told(ledger)["celadon_schedules_overdue",] == 1


def test_counts_that_are_old_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    ledger.take()
    assert told(ledger)

    monkeypatch.setattr(readings, "STALE_S", 0)

    assert told(ledger) == {}
