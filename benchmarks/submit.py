"""What `celadon.submit` costs over what an application must do anyway to keep a job: one durable row and a message.

The peer inserts a row of the job's facts, commits, and calls stock Celery's `send_task`, through the same driver,
pool and durability settings and to the same Redis. Samples of the two alternate, so that whatever else the machine
does hits both. `python -m benchmarks.submit sqlite` measures one database only.
"""

from __future__ import annotations

import sys

from benchmarks.figures import Figures, milliseconds, p50, p99
from benchmarks.ground import Ground, durability, on_each
from benchmarks.outbox import Outbox

PAIRS = 1000
WARM_UP = 50
BAR_MS = 2.0


def measure(kind: str, here: Ground, figures: Figures) -> None:
    here.produce(here.ledger(kind))
    from benchmarks import stock
    from celadon import Submitted, submit
    from celadon.ledger import db

    outbox = Outbox(here.ledger(kind))  # In a database of its own, so that each pays for its own log.
    for who, engine in (("ours", db.engine()), ("stock", outbox.engine)):
        print(f"{kind}, {who}: {durability(engine)}")

    def ours() -> None:
        assert submit("bench.noop", stock.PAYLOAD).outcome == Submitted.QUEUED

    def theirs() -> None:
        outbox.put(stock.PAYLOAD)
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
    outbox.close()
    for who, samples in (("submit", mine), ("stock_insert_and_send", stocks)):
        figures.add(f"{who}_p50_ms_{kind}", p50(samples))
        figures.add(f"{who}_p99_ms_{kind}", p99(samples))
    figures.add(f"submit_over_stock_ratio_{kind}", p50(mine) / p50(stocks))
    figures.add(f"submit_over_stock_ms_{kind}", p50(mine) - p50(stocks), at_most=BAR_MS)


if __name__ == "__main__":
    sys.exit(on_each(measure))
