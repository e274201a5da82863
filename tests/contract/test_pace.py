"""What the scheduler does again and again costs what is due, however many jobs are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from benchmarks.filling import fill
from celadon.ledger import ahead, limits, moving, recovery, retention, schedules, sending
from celadon.ledger.db import begin, engine
from tests.contract.given import NAME

ROWS = 10_000
READ = 100  # Rows that may be looked at for nothing.
STEPS = 5_000  # Of SQLite's machine: reading a row takes about ten.


@pytest.fixture(scope="module")
def crowded(database: str) -> None:
    """Thousands of jobs that are scheduled, sent or running, and their keys; the time has come for none."""
    with begin() as connection:
        connection.execute(text("DELETE FROM jobs"))
    fill(engine(), ROWS, name=NAME, queue="default", first_in_s=3600.0, every_s=0.01)
    with begin() as connection:
        for state, last_digits in (("queued", "0123"), ("running", "456")):
            connection.execute(
                text(
                    f"""UPDATE jobs SET state = '{state}', sends = 1, send_due = run_at, lease_until = run_at
                    WHERE position IN ({", ".join(f"'{digit}'" for digit in last_digits)})""".replace(
                        "position", "substr(id, length(id), 1)"
                    )
                )
            )
        connection.execute(text("UPDATE jobs SET expires_at = run_at WHERE state IN ('scheduled', 'queued')"))
        # Those that wait for another try have begun, and do not expire any more.
        began = "expires_at = created_at, started_at = created_at"
        connection.execute(text(f"UPDATE jobs SET {began} WHERE state = 'scheduled' AND id LIKE '%7'"))
        columns = "scope, key, payload_hash, job_id, expires_at"
        connection.execute(text(f"INSERT INTO keys ({columns}) SELECT name, id, '', id, run_at FROM jobs"))
        connection.execute(text("ANALYZE keys"))  # Unasked, the planner thinks so few pages not worth an index.


def take_overdue() -> object:
    return sending.take_overdue("default", 10)


def suspects() -> object:
    return recovery.suspects(["default"], [NAME], 50)


@pytest.mark.usefixtures("crowded")
@pytest.mark.parametrize(
    "look",
    [
        ahead.look,
        moving.promote,
        moving.release,
        moving.hold_unplaced,
        moving.expire,
        limits.somebody_waits,
        limits.forget_starts,
        schedules.due_now,
        recovery.reap,
        suspects,
        sending.take_unsent,
        sending.overdue_queues,
        take_overdue,
        retention.forget_keys,
    ],
)
def test_what_is_not_due_is_not_read(look: Callable[[], object]):
    look()  # The first connection, and the statements that go with it, cost what they cost.

    if engine().dialect.name == "sqlite":
        assert steps_of(look) <= STEPS
    else:
        assert rows_read_by(look) <= READ


def steps_of(look: Callable[[], object]) -> int:
    """How many instructions SQLite has executed, in hundreds."""
    hundreds: list[int] = []
    with engine().connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: hundreds.append(1), 100)
    look()
    driver.set_progress_handler(None, 0)
    return len(hundreds) * 100


def rows_read_by(look: Callable[[], object]) -> int:
    """How many rows PostgreSQL has read and thrown away, told by the plans of its statements, executed once more."""
    asked: list[Any] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine(), "before_cursor_execute", keep)
    look()
    event.remove(engine(), "before_cursor_execute", keep)
    with engine().connect() as connection:
        plans = [str(connection.exec_driver_sql(f"EXPLAIN ANALYZE {one}", values).all()) for one, values in asked]
    return sum(int(count) for plan in plans for count in re.findall(r"Rows Removed by Filter: (\d+)", plan))
