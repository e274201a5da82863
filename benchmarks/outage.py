"""What a caller waits for while the broker is down (G14), ours beside stock Celery in the same outages.

Two kinds of outage: refused (Redis killed, the port answers with a reset) and half-open (Redis stopped by SIGSTOP:
the kernel still accepts bytes, nobody answers). In each cycle the broker is well and has been sent to; then it goes
away, and the first submission and ten with the circuit open are timed. Every other cycle begins without pooled
connections, as a process does that was just started. In cycles of their own eight threads, as many as a web process
has, meet the outage at once; that is told without a bar. Jobs have `fallback="defer"`: no inline run is in the times.

Beside each submission with an open circuit one plain row is inserted and committed: `commit_beside` is the part of
those times that the database and the machine take.

The ledger is PostgreSQL with its durable defaults, or SQLite: `python -m benchmarks.outage sqlite`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.figures import Figures, milliseconds, p50, p99
from benchmarks.ground import Ground, ground
from benchmarks.outbox import Outbox
from tests.eventually import eventually

CYCLES = 100  # Fresh circuits per kind of outage: enough for a p99 that is not the worst sample.
OPEN_PER_CYCLE = 10
STOCK_EVERY = 8  # Cycles between two sends of the peer, which take about a second each when refused.
CROWD = 8
CROWD_CYCLES = 15
FIRST_BAR_MS, OPEN_BAR_MS = 300.0, 20.0  # G14.
STOCK_LIMIT_S = 10.0  # When a send of the peer is called hung.


@dataclass
class Samples:
    """Milliseconds per call; None among the peer's: it hung."""

    first: list[float] = field(default_factory=list)
    crowd: list[float] = field(default_factory=list)  # The first of several threads at once.
    opened: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    stock: list[float | None] = field(default_factory=list)


def cycles(
    here: Ground, outbox: Outbox, down: Callable[[], None], up: Callable[[], None], *, stock_every: int
) -> Samples:
    """Outage after outage; the peer takes part in every `stock_every`th, and in the last."""
    from benchmarks.stock import PAYLOAD, Producer
    from celadon import Submitted, broker, submit
    from celadon.app import forget_connections

    def deferred() -> None:
        assert submit("bench.noop", PAYLOAD).outcome == Submitted.DEFERRED

    def well() -> None:
        # The platform's own probe has to find that the broker is back; nothing is reset by hand.
        eventually("the circuit is closed", lambda: not broker.circuit.open, within=15)
        assert submit("bench.noop", PAYLOAD).outcome == Submitted.QUEUED

    samples = Samples()
    stock = Producer()
    for number in range(CYCLES):
        well()
        last = number == CYCLES - 1
        with_stock = last or number % stock_every == stock_every - 1
        if with_stock:
            assert (stock.send(STOCK_LIMIT_S) or {}).get("error", "hung") is None
        down()
        if number % 2:
            forget_connections()
        samples.first.append(milliseconds(deferred))
        for _ in range(OPEN_PER_CYCLE):
            samples.opened.append(milliseconds(deferred))
            samples.commits.append(milliseconds(lambda: outbox.put(PAYLOAD)))
        if with_stock:
            answer = stock.send(STOCK_LIMIT_S)
            samples.stock.append(answer["ms"] if answer else None)
            assert answer is None or answer["error"] is not None, "the peer got through: it was no outage"
        up()
    stock.stop()
    with ThreadPoolExecutor(CROWD) as threads:
        for _ in range(CROWD_CYCLES):
            well()
            down()
            samples.crowd += threads.map(lambda _: milliseconds(deferred), range(CROWD))
            up()
    return samples


def tell(name: str, samples: Samples, figures: Figures) -> None:
    figures.add(f"{name}_first_p50_ms", p50(samples.first))
    figures.add(f"{name}_first_p99_ms", p99(samples.first), at_most=FIRST_BAR_MS)
    figures.add(f"{name}_first_of_{CROWD}_threads_p99_ms", p99(samples.crowd))
    figures.add(f"{name}_open_p50_ms", p50(samples.opened))
    figures.add(f"{name}_open_p99_ms", p99(samples.opened), at_most=OPEN_BAR_MS)
    figures.add(f"{name}_commit_beside_p50_ms", p50(samples.commits))
    figures.add(f"{name}_commit_beside_p99_ms", p99(samples.commits))
    ended = [sample for sample in samples.stock if sample is not None]
    hung = len(samples.stock) - len(ended)
    if hung:
        print(f"{name}: {hung} of {len(samples.stock)} stock sends had not returned after {STOCK_LIMIT_S:g} s")
    # A hung send counts as what was waited for it: the true time is longer.
    figures.add(f"stock_{name}_s", p50([*(ms / 1000 for ms in ended), *[STOCK_LIMIT_S] * hung]))
    figures.add(f"stock_{name}_hung", hung)


def main() -> int:
    kind = sys.argv[1] if len(sys.argv) > 1 else "postgresql"
    figures = Figures()
    with ground() as here:
        here.produce(here.ledger(kind))
        outbox = Outbox(here.ledger(kind))
        began = time.monotonic()
        redis = here.redis
        tell("refused", cycles(here, outbox, redis.kill, redis.start, stock_every=STOCK_EVERY), figures)
        tell("half_open", cycles(here, outbox, redis.freeze, redis.thaw, stock_every=CYCLES), figures)
        print(f"{2 * (CYCLES + CROWD_CYCLES)} outages in {time.monotonic() - began:.0f} s, ledger on {kind}")
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
