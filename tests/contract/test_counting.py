"""The counts that metrics are made of, on each database: right, over indexes, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event

from celadon.ledger import counting
from celadon.ledger.counting import QueueCount, count
from celadon.ledger.db import at, engine, reading
from celadon.states import State
from tests.contract.given import ON_POSTGRESQL, a_job, a_job_that_is, after_a_statement, change

pytestmark = pytest.mark.usefixtures("ledger")


def test_an_empty_ledger_counts_nothing() -> None:
    counts = count(["default"])

    assert counts.states == dict.fromkeys(State, 0)
    assert counts.queues == {"default": QueueCount(jobs=0, oldest_s=0.0)}


@pytest.mark.parametrize("state", State)
def test_jobs_are_counted_in_their_state(state: State) -> None:
    for _ in range(2):
        a_job_that_is(state)

    assert count(()).states == {**dict.fromkeys(State, 0), state: 2}


def test_the_queued_jobs_of_a_queue_are_counted_and_the_oldest_is_told_whatever_its_priority() -> None:
    for seconds, priority in ((5, 9), (400, -9), (60, 0)):
        change(a_job(priority=priority), queued_at=at(-seconds))
    a_job(queue="scheduled")

    queues = count(["default", "scheduled"]).queues

    assert (queues["default"].jobs, queues["scheduled"].jobs) == (3, 1)
    assert 400 <= queues["default"].oldest_s < 410


def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST", 3)
    monkeypatch.setattr(counting, "OLDEST_OF", 2)
    jobs = [a_job() for _ in range(5)]
    change(jobs[-1], queued_at=at(-1000))

    counts = count(["default"])

    assert (counts.states[State.QUEUED], counts.queues["default"].jobs) == (3, 3)
    assert counts.queues["default"].oldest_s < 100  # Of the two that are next; the oldest is behind them.


def test_no_count_scans_the_table() -> None:
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT") and "jobs" in statement:
            verb = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
            cursor.execute(f"{verb} {statement}", parameters)
            plans.append(" ".join(str(row[-1]) for row in cursor.fetchall()))

    event.listen(engine(), "before_cursor_execute", explain)
    try:
        count(["default"])
    finally:
        event.remove(engine(), "before_cursor_execute", explain)

    assert len(plans) == len(State) + 2
    for plan in plans:
        assert "jobs_" in plan, plan  # An index of ours.
        assert "Seq Scan" not in plan
        assert "SCAN jobs" not in plan.replace("SCAN jobs USING", "")


@ON_POSTGRESQL
def test_a_count_goes_by_indexes_and_changes_nothing_for_whoever_uses_the_connection_next() -> None:
    told = []

    def ask(connection: Connection) -> None:
        told.append(connection.exec_driver_sql("SHOW enable_seqscan").scalar())

    with after_a_statement("FROM jobs", ask):
        count(["default"])

    with reading() as connection:
        ask(connection)
    assert told == ["off", "on"]
