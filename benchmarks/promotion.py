"""What the scheduler does when much is due at once, and what it costs while nothing is, with a million jobs to come.

- `idle_tick_ms`: the real scheduler's `tick()`, all of it (presence, schedules, chores), at its own pace, with its
  sender beside it, while a million scheduled jobs wait for tomorrow.
- `promoted_per_s`: `moving.promote` alone, `scheduled` to `queued` in the ledger, in this process.
- `sent_per_s`: a real `celadon beat` finds the jobs due, promotes them and sends them to a real Redis. The clock runs
  between two depths of the queue, seen from outside.
- `simple_per_s`: what one would write first, a transaction and a `send_task` for each due row. In the same run.

All with the million in the same tables. `python -m benchmarks.promotion sqlite` measures one database only.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import NamedTuple

from sqlalchemy import select, text, update

from benchmarks.figures import Figures, p50, p99
from benchmarks.filling import fill
from benchmarks.ground import Ground, on_each
from benchmarks.throughput import cpu_s
from tests.eventually import eventually
from tests.servers.process import celadon, kill_group, spawn

FUTURE = 1_000_000
TICKS = 260  # A minute of them.
WARM = 20  # The first make connections and fill caches.
DUE = 20_000
SIMPLE = 1_000
FROM, TO = 1_000, 19_000  # The clock runs between these depths of the queue.
QUEUE = "scheduled"
IDLE_MS = 5.0
PER_S = 3_000.0


class Sent(NamedTuple):
    per_s: float
    cpu_us: float  # What Beat's process used for each.


def idle(kind: str, here: Ground, figures: Figures) -> None:
    """A minute of the scheduler's ticks, at its own pace."""
    from celadon.app import app
    from celadon.beat import LedgerScheduler

    scheduler = LedgerScheduler(app)
    took_ms, cpu_ms = [], []
    for _ in range(TICKS):
        began, used = time.perf_counter(), time.thread_time()
        pause = scheduler.tick()
        took_ms.append((time.perf_counter() - began) * 1000)
        cpu_ms.append((time.thread_time() - used) * 1000)
        time.sleep(pause)
    scheduler.close()
    figures.add(f"idle_tick_ms_p50_{kind}", p50(took_ms[WARM:]), at_most=IDLE_MS)
    figures.add(f"idle_tick_ms_p99_{kind}", p99(took_ms[WARM:]))
    figures.add(f"idle_tick_cpu_ms_p50_{kind}", p50(cpu_ms[WARM:]))


def lay(count: int, due_in_s: float) -> None:
    from celadon.ledger.db import engine

    fill(engine(), count, name="bench.noop", queue=QUEUE, first_in_s=due_in_s)


def promoted_per_s() -> float:
    """Promotion alone, in batches as the scheduler's."""
    from celadon.ledger import moving

    lay(DUE, -1)
    began, moved = time.perf_counter(), 0
    while batch := moving.promote():
        moved += batch
    took = time.perf_counter() - began
    assert moved == DUE, f"{moved} of {DUE} jobs were promoted"
    return moved / took


def sent_per_s(here: Ground, ledger: str) -> Sent:
    """Promoted and sent by a Beat of its own."""
    lay(DUE, 4)
    with here.redis.client() as client, ExitStack() as stack:
        beat = spawn(celadon("beat"), here.folder / "beat.log", env=here.env(ledger, {"LOG_LEVEL": "WARNING"}))
        stack.callback(beat.wait, 10)
        stack.callback(kill_group, beat)

        def risen_to(depth: int) -> tuple[int, float, float] | None:
            there = int(client.llen(QUEUE))
            return (there, time.perf_counter(), cpu_s(beat.pid)) if there >= depth else None

        first = eventually("Beat is at it", lambda: risen_to(FROM), 60)
        last = eventually("nearly all are sent", lambda: risen_to(TO), 60)
    assert first is not None
    assert last is not None
    jobs = last[0] - first[0]
    return Sent(per_s=jobs / (last[1] - first[1]), cpu_us=(last[2] - first[2]) / jobs * 1e6)


def simple_per_s() -> float:
    """Row by row: lock the next that is due, mark it as queued, commit, send."""
    from celadon import broker
    from celadon.ledger.db import at, begin, by
    from celadon.ledger.tables import in_state, jobs
    from celadon.states import State

    lay(SIMPLE, -2)
    next_due = (
        select(jobs.c.id, jobs.c.name, jobs.c.queue)
        .where(in_state(State.SCHEDULED), jobs.c.run_at <= by())
        .order_by(jobs.c.run_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    began, moved = time.perf_counter(), 0
    while True:
        with begin() as connection:
            job = connection.execute(next_due).one_or_none()
            if job is None:
                break
            sent = {"state": State.QUEUED, "queued_at": at(), "send_due": at(5), "sends": 1}
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(**sent))
        broker.send(job.id, job.name, job.queue)
        moved += 1
    assert moved == SIMPLE, f"{moved} of {SIMPLE} jobs were moved"
    return moved / (time.perf_counter() - began)


def forget() -> None:
    """Leave only the jobs to come."""
    from celadon.ledger.db import begin

    with begin() as connection:
        connection.execute(text("DELETE FROM jobs WHERE state = 'queued'"))


def measure(kind: str, here: Ground, figures: Figures) -> None:
    ledger = here.ledger(kind)
    here.produce(ledger)
    lay(FUTURE, 86_400)
    figures.add(f"future_jobs_{kind}", FUTURE)
    idle(kind, here, figures)
    bar = PER_S if kind == "postgresql" else None
    figures.add(f"promoted_per_s_{kind}", promoted_per_s(), at_least=bar)
    forget()
    sent = sent_per_s(here, ledger)
    here.redis.wipe()
    forget()
    simple = simple_per_s()
    here.redis.wipe()
    figures.add(f"sent_per_s_{kind}", sent.per_s, at_least=bar)
    figures.add(f"sent_beat_cpu_us_{kind}", sent.cpu_us)
    figures.add(f"simple_per_s_{kind}", simple)
    figures.add(f"sent_vs_simple_{kind}", sent.per_s / simple)


if __name__ == "__main__":
    sys.exit(on_each(measure))
