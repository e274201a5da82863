"""What `celadon.submit` costs over what an application must do anyway to keep a job: one durable row and a message.

The peer inserts a row of the job's facts, commits, and calls stock Celery's `send_task`, through the same driver,
pool and durability settings and to the same Redis. Samples of the two alternate, so that whatever else the machine
does hits both.
"""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime

from sqlalchemy import JSON, Column, DateTime, Integer, MetaData, String, Table, insert

from benchmarks.figures import Figures, milliseconds, p50, p99
from benchmarks.ground import Ground, durability, ground

PAIRS = 1000
WARM_UP = 50
BAR_MS = 2.0

outbox = Table(
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


def measure(kind: str, here: Ground, figures: Figures) -> None:
    here.produce(here.ledger(kind))
    from benchmarks import stock
    from celadon import Submitted, submit
    from celadon.ledger import db

    peer = db.make_engine(here.ledger(kind))  # A database of its own, so that each pays for its own log.
    outbox.create(peer)
    for who, engine in (("ours", db.engine()), ("stock", peer)):
        print(f"{kind}, {who}: {durability(engine)}")

    def ours() -> None:
        assert submit("bench.noop", stock.PAYLOAD).outcome == Submitted.QUEUED

    def theirs() -> None:
        with peer.begin() as connection:
            connection.execute(
                insert(outbox).values(
                    id=str(uuid.uuid4()),
                    name="stock.noop",
                    queue=stock.QUEUE,
                    state="queued",
                    payload=stock.PAYLOAD,
                    max_attempts=5,
                    created_at=datetime.now(UTC),
                )
            )
        stock.send()

    for _ in range(WARM_UP):
        ours()
        theirs()
    mine: list[float] = []
    stocks: list[float] = []
    for number in range(PAIRS):
        # Whoever goes second may find warm caches, so they take turns at it.
        if number % 2:
            mine.append(milliseconds(ours))
            stocks.append(milliseconds(theirs))
        else:
            stocks.append(milliseconds(theirs))
            mine.append(milliseconds(ours))
    peer.dispose()
    for who, samples in (("submit", mine), ("stock_insert_and_send", stocks)):
        figures.add(f"{who}_p50_ms_{kind}", p50(samples))
        figures.add(f"{who}_p99_ms_{kind}", p99(samples))
    figures.add(f"submit_over_stock_ratio_{kind}", p50(mine) / p50(stocks))
    figures.add(f"submit_over_stock_ms_{kind}", p50(mine) - p50(stocks), at_most=BAR_MS)


def main() -> int:
    figures = Figures()
    with ground() as here:
        for kind in ("sqlite", "postgresql"):
            measure(kind, here, figures)
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
