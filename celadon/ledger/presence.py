"""Which workers are alive, what they consume and which jobs they know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, update

from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import workers
from celadon.ledger.writing import upsert
from celadon.settings import settings

FORGET_AFTER_S = 7 * 86400  # Workers of the last week stay visible, so that a crash loop can be seen.


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    id: str
    host: str
    pid: int
    lane: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int


def appear(worker: Worker) -> None:
    """Say that the worker is there, or that it works other queues than before. Raises LedgerUnavailable."""
    with begin() as connection:
        facts: dict[str, Any] = {
            "id": worker.id,
            "host": worker.host,
            "pid": worker.pid,
            "lane": worker.lane,
            "queues": list(worker.queues),
            "tasks": list(worker.tasks),
            "concurrency": worker.concurrency,
            "started_at": at(),
            "last_seen": at(),
        }
        connection.execute(
            upsert(connection, workers)
            .values(**facts)
            .on_conflict_do_update(
                index_elements=["id"], set_={name: facts[name] for name in ("queues", "tasks", "last_seen")}
            )
        )


def beat(worker_id: str, *, lost_slots: int = 0, dropped: int = 0, stopping: bool = False) -> bool:
    """Say that the worker is alive. False: its row is gone, so it has to appear again."""
    with begin() as connection:
        return bool(
            connection.execute(
                update(workers)
                .where(workers.c.id == worker_id)
                .values(last_seen=at(), lost_slots=lost_slots, dropped=dropped, stopping=stopping)
            ).rowcount
        )


def leave(worker_id: str) -> None:
    with begin() as connection:
        connection.execute(delete(workers).where(workers.c.id == worker_id))


def alive() -> Sequence[Worker]:
    """Workers heard of lately that are not stopping."""
    with reading() as connection:
        return alive_on(connection)


def alive_on(connection: Connection) -> Sequence[Worker]:
    """The same, on a connection that is already at it."""
    heard = workers.c.last_seen > at(-settings().presence_s)
    rows = connection.execute(select(workers).where(heard, workers.c.stopping.is_(False))).all()
    return [
        Worker(
            id=row.id,
            host=row.host,
            pid=row.pid,
            lane=row.lane,
            queues=tuple(row.queues),
            tasks=tuple(row.tasks),
            concurrency=row.concurrency,
        )
        for row in rows
    ]


def forget() -> None:
    with begin() as connection:
        connection.execute(delete(workers).where(workers.c.last_seen < at(-FORGET_AFTER_S)))
