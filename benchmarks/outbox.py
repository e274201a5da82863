"""The least an application does to keep a job: one row with the job's facts, committed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import JSON, Column, DateTime, Engine, Integer, MetaData, String, Table, insert

_outbox = Table(
    "outbox",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("queue", String(200), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)


class Outbox:
    """A table in the database at `url`, reached with our driver, pool and durability settings."""

    def __init__(self, url: str) -> None:
        from celadon.ledger import engines

        self.engine: Engine = engines.make_engine(url)
        _outbox.create(self.engine)

    def put(self, payload: Mapping[str, object]) -> None:
        """INSERT and COMMIT."""
        row = {"id": str(uuid.uuid4()), "name": "stock.noop", "queue": "celery", "state": "queued", "max_attempts": 5}
        with self.engine.begin() as connection:
            connection.execute(insert(_outbox), {**row, "payload": dict(payload), "created_at": datetime.now(UTC)})

    def close(self) -> None:
        self.engine.dispose()
