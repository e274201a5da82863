"""G8: never more than 500 starts in any window of a second, over several workers and two schedulers.

A start is the time at the first line of the job's body, by this host's clock, which the database reads too. The checker
slides a window of a second over all of them: it begins at each start, and both its ends belong to it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert, text

from benchmarks.figures import Figures
from celadon import Submission, submit_many
from celadon.ids import new_id
from celadon.ledger.db import at, begin
from celadon.ledger.tables import jobs
from celadon.settings import overridden
from celadon.states import State
from tests.eventually import eventually
from tests.guarantees import g08_jobs
from tests.guarantees.deployment import Deployment, deployment

CONFIG = "tests.guarantees.g08_config"
JOB = g08_jobs.start.name
MOST, WINDOW_NS = 500, 1_000_000_000
WORKERS, THREADS = 3, 12
TENANTS = 7
SUBMITTED, BULK = 2_000, 500
LAID = 5_000  # At once, past the platform: to submit a hundred thousand takes minutes.


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    for kind, starts in (("postgresql", 100_000),) if long else (("postgresql", 1_500), ("sqlite", 300)):
        (folder / kind).mkdir()
        with deployment(folder / kind, kind, CONFIG) as here:
            _measure(figures, here, kind, starts)


def _measure(figures: Figures, here: Deployment, kind: str, many: int) -> None:
    times = run(here, many)
    with here.engine.connect() as connection:
        late = connection.execute(text("SELECT count(*) FROM attempts WHERE outcome = 'interrupted'")).scalar_one()
    figures.add(f"starts_{kind}", len(times))
    figures.add(f"not_run_once_{kind}", not_once(here.folder / "began", many), at_most=0)
    figures.add(f"most_starts_in_a_second_{kind}", most_in_a_window(times), at_most=MOST)
    figures.add(f"starts_per_s_{kind}", (len(times) - 1) / ((times[-1] - times[0]) / 1e9))
    figures.add(f"begun_too_late_and_put_back_{kind}", late)


def run(here: Deployment, many: int) -> list[int]:
    """Submit so many jobs, start the workers and the schedulers, and wait for all; when each began, in ns, sorted."""
    submit_all(many)
    for number in range(WORKERS):
        words = ("worker", "default", "--concurrency", str(THREADS))
        here.start(*words, name=f"worker-{number}", LOG_LEVEL="WARNING")
    for number in range(2):
        here.start("beat", name=f"beat-{number}", LOG_LEVEL="WARNING")
    file = here.folder / "began"

    def all_have_begun() -> bool:
        return file.exists() and file.read_bytes().count(b"\n") >= many

    # A busy machine may take its time: how fast they are is told, how many in a second is the bar.
    eventually(f"{many} have begun", all_have_begun, within=60 + many / 20)
    time.sleep(1)  # Whoever begins twice does so now.
    return sorted(when for when, _ in starts(file))


def submit_all(many: int) -> None:
    """Jobs of some tenants, which wait for their turns. All are submitted, but for the bulk of a very long line."""
    submitted = min(many, SUBMITTED)
    with overridden(ledger_timeout_s="60"):  # How fast this is on a busy machine is not what is proven.
        for first in range(0, submitted, BULK):
            numbers = range(first, min(first + BULK, submitted))
            submit_many([Submission(name=JOB, payload={"number": n}, tenant=tenant(n)) for n in numbers])
    facts = {"name": JOB, "queue": "default", "state": State.WAITING, "max_attempts": 5}
    for first in range(submitted, many, LAID):
        numbers = range(first, min(first + LAID, many))
        rows = [{"id": new_id(), "payload": {"number": n}, "tenant": tenant(n), **facts} for n in numbers]
        with begin() as connection:
            connection.execute(insert(jobs).values(created_at=at()), rows)


def tenant(number: int) -> str:
    return f"tenant-{number % TENANTS}"


def starts(file: Path) -> list[tuple[int, int]]:
    """(time, number) of all starts so far."""
    return [(int(when), int(number)) for when, number in map(str.split, file.read_text().splitlines())]


def not_once(file: Path, many: int) -> int:
    """How many jobs did not begin exactly once."""
    runs = Counter(number for _, number in starts(file))
    return sum(runs[number] != 1 for number in range(many))


def most_in_a_window(times: Sequence[int]) -> int:
    """The most starts that stand in any window; `times` in nanoseconds and in order."""
    most = last = 0
    for first, begun in enumerate(times):
        while last < len(times) and times[last] - begun <= WINDOW_NS:
            last += 1
        most = max(most, last - first)
    return most
