"""What being watched costs: no-op jobs of one default worker with and without its metrics.

Measured as `throughput` does. With metrics the worker counts in files shared with its processes, and is asked for them
every second, fifteen times as often as Prometheus asks by custom. Rounds alternate; the median of the pairs' ratios is
told: of jobs per second, in which the host's own noise is larger than the cost, and of processor time per job.
`python -m benchmarks.watching sqlite` measures one database only.
"""

from __future__ import annotations

import statistics
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from benchmarks.figures import Figures
from benchmarks.ground import Ground, on_each
from benchmarks.throughput import Drained, drain
from tests.servers.process import celadon, free_port

ROUNDS = 7


@contextmanager
def asked(port: int) -> Iterator[None]:
    """Ask for the metrics at that port every second."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(1):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def measure(kind: str, here: Ground, figures: Figures) -> None:
    ledger = here.ledger(kind)
    here.produce(ledger)
    from benchmarks import stock
    from celadon import submit
    from celadon.queues import lane

    put = partial(submit, "bench.noop", stock.PAYLOAD)
    worker = celadon("worker", lane("default").name)
    port = free_port()
    blind = here.env(ledger, {"LOG_LEVEL": "WARNING"})
    watched = here.env(ledger, {"LOG_LEVEL": "WARNING", "METRICS_BIND": f"127.0.0.1:{port}"})
    pairs: list[tuple[Drained, Drained]] = []
    for number in range(ROUNDS):
        # Each goes first by turns, for the ledger grows meanwhile.
        with asked(port):
            if number % 2:
                with_metrics, without = (drain(here, "default", put, worker, env) for env in (watched, blind))
            else:
                without, with_metrics = (drain(here, "default", put, worker, env) for env in (blind, watched))
        pairs.append((without, with_metrics))
    figures.add(f"jobs_per_s_plain_{kind}", statistics.median(plain.per_s for plain, _ in pairs))
    figures.add(f"jobs_per_s_watched_{kind}", statistics.median(its.per_s for _, its in pairs))
    figures.add(f"jobs_per_s_ratio_{kind}", statistics.median(its.per_s / plain.per_s for plain, its in pairs))
    figures.add(f"cpu_ms_plain_{kind}", statistics.median(plain.cpu_ms for plain, _ in pairs))
    figures.add(f"cpu_ms_watched_{kind}", statistics.median(its.cpu_ms for _, its in pairs))
    figures.add(f"cpu_ratio_{kind}", statistics.median(its.cpu_ms / plain.cpu_ms for plain, its in pairs))


if __name__ == "__main__":
    sys.exit(on_each(measure))
