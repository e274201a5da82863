"""No-op jobs per second of one default worker, from claim to finish, against a stock Celery worker with late acks.

A backlog is laid into the queue, then the worker is started on it. Both sides have the default lane's pool and
concurrency, and both are watched from outside: the clock runs between two depths of the queue on the broker, so
neither start-up nor the tail counts. Ours writes two durable transactions per job (claim, finish); stock writes
none. Rounds of the peers alternate; the median round is told. There is no bar: this is the price of the ledger.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.figures import Figures
from benchmarks.ground import Ground, ground
from tests.eventually import eventually
from tests.servers.process import celadon, kill_group, spawn

ROUNDS = 3
BACKLOG = 1200
FROM, TO = 1100, 100  # The clock runs between these depths of the queue.
ROUND_LIMIT_S = 60.0


def jobs_per_s(here: Ground, queue: str, put: Callable[[], object], worker: Sequence[str], env: dict[str, str]) -> float:
    """Lay the backlog, start the worker, and take the rate at which the queue falls."""
    for _ in range(BACKLOG):
        put()
    with here.redis.client() as client, ExitStack() as stack:
        # A busy host may have cost a send its time-out; that job is in the ledger only.
        assert client.llen(queue) > FROM, f"only {client.llen(queue)} of {BACKLOG} messages were sent"
        process = spawn(worker, here.folder / f"{queue}.log", env=env)
        stack.callback(process.wait, 10)
        stack.callback(kill_group, process)
        (first, began), (last, ended) = (
            eventually(
                f"the queue falls to {depth}",
                lambda depth=depth: (left, time.perf_counter()) if (left := client.llen(queue)) <= depth else None,
                ROUND_LIMIT_S,
            )
            for depth in (FROM, TO)
        )
    here.redis.wipe()
    return (first - last) / (ended - began)


def measure(kind: str, here: Ground, figures: Figures) -> None:
    ledger = here.ledger(kind)
    here.produce(ledger)
    from benchmarks import stock
    from celadon import submit
    from celadon.queues import lane

    same = lane("default")
    peer = stock.worker("--pool", same.pool, "--concurrency", str(same.concurrency),
                        "--prefetch-multiplier", str(same.prefetch))
    env = here.env(ledger, {"LOG_LEVEL": "WARNING"})
    ours: list[float] = []
    stocks: list[float] = []
    for _ in range(ROUNDS):
        ours.append(
            jobs_per_s(here, "default", lambda: submit("bench.noop", stock.PAYLOAD), celadon("worker", "default"), env)
        )
        stocks.append(jobs_per_s(here, stock.QUEUE, stock.send, peer, env))
    figures.add(f"jobs_per_s_ours_{kind}", statistics.median(ours))
    figures.add(f"jobs_per_s_stock_beside_{kind}", statistics.median(stocks))
    figures.add(f"drain_vs_stock_{kind}", statistics.median(ours) / statistics.median(stocks))


def main() -> int:
    figures = Figures()
    with ground() as here:
        for kind in ("sqlite", "postgresql"):
            measure(kind, here, figures)
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
