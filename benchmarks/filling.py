"""Laying many scheduled jobs into a ledger at once, past the platform: to submit a million would take half an hour."""

from __future__ import annotations

from sqlalchemy import Engine, text

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT :count)",
    "postgresql": "WITH numbers(n) AS (SELECT * FROM generate_series(0, :count - 1))",
}
_IN_SECONDS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', ({}) || ' seconds')",
    "postgresql": "clock_timestamp() + make_interval(secs => {})",
}


def fill(engine: Engine, count: int, *, name: str, queue: str, first_in_s: float, every_s: float = 0.0) -> None:
    """Store `count` scheduled jobs of a name, the first due in `first_in_s`, each `every_s` after the one before."""
    in_seconds = _IN_SECONDS[engine.dialect.name]
    statement = f"""{_NUMBERS[engine.dialect.name]}
        INSERT INTO jobs (id, name, queue, state, payload, max_attempts, created_at, run_at)
        SELECT CAST(:label AS TEXT) || n, :name, :queue, 'scheduled', '{{"number": 0}}', 5,
        {in_seconds.format("0")}, {in_seconds.format(":first + n * :every")} FROM numbers"""
    values = {"count": count, "name": name, "queue": queue, "first": first_in_s, "every": every_s}
    with engine.begin() as connection:
        connection.execute(text(statement), {**values, "label": f"{name}-due-in-{first_in_s:g}-"})
