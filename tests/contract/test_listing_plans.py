"""A list of jobs is read by index, on both databases, whatever is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, text

from celadon.ledger.db import begin, engine
from celadon.ledger.listing import list_jobs
from celadon.states import State

ROWS = 20_000


@pytest.fixture(scope="module")
def many(database: str) -> None:
    """Many jobs of all kinds: enough for a planner to prefer an index if there is one."""
    if database.startswith("sqlite"):
        numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT :rows)"
        source, when = "numbers", "strftime('%Y-%m-%d %H:%M:%f', 'now', (-n) || ' seconds')"
    else:
        numbers, source, when = "", "generate_series(1, :rows) AS s(n)", "now() - n * interval '1 second'"
    states = " ".join(f"WHEN {at} THEN '{state}'" for at, state in enumerate(State))
    with begin() as connection:
        connection.execute(text("DELETE FROM jobs"))
        connection.execute(
            text(
                f"""{numbers} INSERT INTO jobs (id, name, queue, state, payload, tenant, max_attempts, created_at)
                SELECT 'many-' || n, 'name-' || (n % 7), 'queue-' || (n % 5), CASE n % 8 {states} END, '{{}}',
                'tenant-' || (n % 3), 5, {when} FROM {source}"""
            ),
            {"rows": ROWS},
        )
        if not database.startswith("sqlite"):
            connection.execute(text("ANALYZE jobs"))


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("after", [False, True], ids=["the first page", "a later page"])
@pytest.mark.parametrize("tenant", [None, "nobody"])
@pytest.mark.parametrize("queue", [None, "queue-1"])
@pytest.mark.parametrize("name", [None, "name-1"])
@pytest.mark.parametrize("states", [(), ("dead",), ("queued", "running")], ids=["any", "dead", "unfinished"])
def test_no_list_reads_the_whole_table(states, name, queue, tenant, after):
    filters: dict[str, Any] = {"states": states, "name": name, "queue": queue, "tenant": tenant}
    if after:
        filters["after"] = list_jobs(states=["dead"], limit=200).next
    asked: list[Any] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine(), "before_cursor_execute", keep)
    list_jobs(limit=10, **filters)
    event.remove(engine(), "before_cursor_execute", keep)

    statement, parameters = asked[-1]
    explain = "EXPLAIN QUERY PLAN" if engine().dialect.name == "sqlite" else "EXPLAIN"
    with engine().connect() as connection:
        plan = [str(line) for line in connection.exec_driver_sql(f"{explain} {statement}", parameters)]
    assert any("jobs_" in line for line in plan), plan  # An index.
    assert not [line for line in plan if "Seq Scan on jobs" in line or "SCAN jobs" in line], plan
