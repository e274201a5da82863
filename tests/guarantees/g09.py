"""G9: a due job starts on time, with a ledger full of jobs that are due later, and the scheduler grows no larger.

How late is the time of the first line of the job's body less the job's `run_at`: both by the clock of this host, which
the database reads too. A real Beat, a real worker of the lane `scheduled`, default settings. The jobs of the future
come when Beat has worked on an almost empty ledger for a while: what the database has planned for it is wrong then.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from benchmarks.figures import Figures, p50, p99
from benchmarks.filling import fill
from celadon import submit
from celadon.ledger.db import reading
from celadon.ledger.tables import jobs
from tests.eventually import eventually
from tests.guarantees import g09_jobs
from tests.guarantees.deployment import Deployment, deployment

CONFIG = "tests.guarantees.g09_config"
JOB = g09_jobs.due.name
PER_S = 25  # Jobs that become due.
DELAYS_S = (0.1, 1.0)  # Of a submission. With the shortest, Beat hears of the job only when it is due.


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    kind, future, warm_s, loaded_s = ("postgresql", 1_000_000, 20, 240) if long else ("sqlite", 100_000, 1, 4)
    with deployment(folder, kind, CONFIG, durable=True) as here:
        beat = here.start("beat")
        here.start("worker", "scheduled")
        here.present("beat")
        here.present("scheduled")
        warm = submit_for(warm_s, first=0)
        begun(here, warm)
        before_mb = memory_mb(beat.pid)
        fill(here.engine, future, name=JOB, queue="scheduled", first_in_s=86_400, every_s=0.05)
        submitted = warm + submit_for(loaded_s, first=warm)
        found = [late for number, late in begun(here, submitted).items() if number >= warm]
        queued_ms, late_ms = [late.queued_ms for late in found], [late.begun_ms for late in found]
        after_mb = memory_mb(beat.pid)
    figures.add("future_jobs", future)
    figures.add("due_jobs", len(late_ms))
    figures.add("queued_late_ms_p50", p50(queued_ms))
    figures.add("queued_late_ms_p99", p99(queued_ms))
    figures.add("late_ms_p50", p50(late_ms))
    figures.add("late_ms_p99", p99(late_ms), at_most=500)
    figures.add("late_ms_max", max(late_ms))
    figures.add("beat_mb", after_mb)
    figures.add("beat_grew_mb", after_mb - before_mb, at_most=5)


def submit_for(seconds: float, *, first: int) -> int:
    """Submit jobs at a steady pace, numbered from `first`, each with a delay of its own; how many."""
    chance = random.Random(first)
    began, count = time.monotonic(), round(seconds * PER_S)
    for number in range(count):
        time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
        submit(JOB, {"number": first + number}, delay=chance.uniform(*DELAYS_S))
    return count


class Late(NamedTuple):
    queued_ms: float  # When the scheduler had promoted it.
    begun_ms: float  # When a worker had taken it up: this is what is promised.


def begun(here: Deployment, submitted: int) -> dict[int, Late]:
    """How late each job was, by its number; returns when all have begun."""
    file = here.folder / "began"

    def lines() -> list[str]:
        return file.read_text().splitlines() if file.exists() else []

    eventually("all have begun", lambda: len(lines()) >= submitted, within=30)
    with reading() as connection:
        columns = (jobs.c.payload, jobs.c.run_at, jobs.c.queued_at)
        rows = connection.execute(select(*columns).where(jobs.c.name == JOB, jobs.c.epoch > 0)).all()
    times = {int(number): float(at) for number, at in map(str.split, lines())}
    late = {}
    for row in rows:
        number, due = row.payload["number"], row.run_at.timestamp()
        late[number] = Late((row.queued_at.timestamp() - due) * 1000, (times[number] - due) * 1000)
    return late


def memory_mb(pid: int) -> float:
    """What the process takes, shared pages in parts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
