"""No-op jobs per second of one default worker, from claim to finish, against a stock Celery worker with late acks.

A backlog is laid into the queue, then the worker is started on it. Both sides have the default lane's pool and
concurrency, and both are watched from outside: the clock runs between two depths of the queue on the broker, so
neither start-up nor the tail counts. Ours writes two durable transactions per job (claim, finish); stock writes
none. Rounds of the peers alternate; the median round is told. There is no bar: this is the price of the ledger.
`python -m benchmarks.throughput sqlite` measures one database only.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figures
from benchmarks.ground import Ground, on_each
from tests.eventually import eventually
from tests.servers.process import celadon, kill_group, spawn

ROUNDS = 3
BACKLOG = 800
FROM, TO = 700, 100  # The clock runs between these depths of the queue.
ROUND_LIMIT_S = 60.0


class Drained(NamedTuple):
    per_s: float  # Jobs, by which the queue fell.
    cpu_ms: float  # What the worker's process used for each.


def drain(
    here: Ground, queue: str, put: Callable[[], object], worker: Sequence[str], env: Mapping[str, str]
) -> Drained:
    """Lay the backlog, start the worker, and watch the queue fall."""
    for _ in range(BACKLOG):
        put()
    with here.redis.client() as client, ExitStack() as stack:
        # A busy host may have cost a send its time-out; that job is in the ledger only.
        assert client.llen(queue) > FROM, f"only {client.llen(queue)} of {BACKLOG} messages were sent"
        process = spawn(worker, here.folder / f"{queue}.log", env=env)
        stack.callback(process.wait, 10)
        stack.callback(kill_group, process)

        def fallen_to(depth: int) -> tuple[int, float, float] | None:
            left = client.llen(queue)
            return (left, time.perf_counter(), cpu_s(process.pid)) if left <= depth else None

        first = eventually("the worker is at it", lambda: fallen_to(FROM), ROUND_LIMIT_S)
        last = eventually("the queue is nearly empty", lambda: fallen_to(TO), ROUND_LIMIT_S)
    here.redis.wipe()
    assert first is not None
    assert last is not None
    jobs = first[0] - last[0]
    return Drained(per_s=jobs / (last[1] - first[1]), cpu_ms=(last[2] - first[2]) / jobs * 1000)


def cpu_s(pid: int) -> float:
    """Processor time that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(kind: str, here: Ground, figures: Figures) -> None:
    ledger = here.ledger(kind)
    here.produce(ledger)
    from benchmarks import stock
    from celadon import submit
    from celadon.queues import lane

    same = lane("default")
    peer = stock.worker(same.pool, same.concurrency, same.prefetch)
    put_ours = partial(submit, "bench.noop", stock.PAYLOAD)
    env = here.env(ledger, {"LOG_LEVEL": "WARNING"})
    ours: list[float] = []
    stocks: list[float] = []
    for _ in range(ROUNDS):
        ours.append(drain(here, "default", put_ours, celadon("worker", same.name), env).per_s)
        stocks.append(drain(here, stock.QUEUE, stock.send, peer, env).per_s)
    figures.add(f"jobs_per_s_ours_{kind}", statistics.median(ours))
    figures.add(f"jobs_per_s_stock_beside_{kind}", statistics.median(stocks))
    figures.add(f"drain_vs_stock_{kind}", statistics.median(ours) / statistics.median(stocks))


if __name__ == "__main__":
    sys.exit(on_each(measure))
