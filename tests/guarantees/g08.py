"""G8: never more than 500 starts in any window of a second, over several workers and two schedulers; nor 100.

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
from celadon.ledger import limits
from celadon.ledger.db import at, begin
from celadon.ledger.tables import jobs
from celadon.limits import Limit
from celadon.settings import overridden
from celadon.states import State
from tests.eventually import eventually
from tests.guarantees import g08_jobs
from tests.guarantees.deployment import Deployment, deployment

CONFIG = "tests.guarantees.g08_config"
JOB = g08_jobs.start.name
MOST, WINDOW_NS = 500, 1_000_000_000
THREADS = 12  # Of each worker.
LONG = (("postgresql", 500, 100_000), ("postgresql", 100, 5_000))
SHORT = (("postgresql", 50, 150), ("sqlite", 25, 60))
NEARLY = 0.8  # Of the limit: a busiest second that stays below it has not shown that it is the limit that holds.
TENANTS = 7
SUBMITTED, BULK = 2_000, 500
LAID = 5_000  # At once, past the platform: to submit a hundred thousand takes minutes.


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    # Two cores may not do 500 jobs a second, whatever their limit. A tighter one shows that it is the limit that holds.
    runs = LONG if long else SHORT
    for kind, most, many in runs:
        here_in = folder / f"{kind}-{most}"
        here_in.mkdir()
        with deployment(here_in, kind, CONFIG, ready_made=not long) as here:
            if most != MOST:
                limits.set_limits("job", JOB, [Limit(starts=most, per_s=1)], actor="proof")
            _measure(figures, here, f"{most}_{kind}", most, many, workers=3 if long else 2)


def _measure(figures: Figures, here: Deployment, label: str, most: int, many: int, workers: int) -> None:
    times = run(here, many, workers)
    with here.engine.connect() as connection:
        late = connection.execute(text("SELECT count(*) FROM attempts WHERE outcome = 'interrupted'")).scalar_one()
    figures.add(f"starts_{label}", len(times))
    figures.add(f"not_run_once_{label}", not_once(here.folder / "began", many), at_most=0)
    busiest = most_in_a_window(times)
    figures.add(f"most_starts_in_a_second_{label}", busiest, at_most=most)
    if most != MOST:
        figures.add(f"nearly_as_many_as_allowed_{label}", busiest, at_least=NEARLY * most)
    figures.add(f"starts_per_s_{label}", per_s(times))
    figures.add(f"begun_too_late_and_put_back_{label}", late)


def run(here: Deployment, many: int, workers: int = 3) -> list[int]:
    """Submit so many jobs, start the workers and the schedulers, and wait for all; when each began, in ns, sorted."""
    submit_all(many)
    for number in range(workers):
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


def per_s(times: Sequence[int]) -> float:
    """How many began in a second, over all."""
    return (len(times) - 1) / ((times[-1] - times[0]) / 1e9)


def most_in_a_window(times: Sequence[int]) -> int:
    """The most starts that stand in any window; `times` in nanoseconds and in order."""
    most = last = 0
    for first, begun in enumerate(times):
        while last < len(times) and times[last] - begun <= WINDOW_NS:
            last += 1
        most = max(most, last - first)
    return most
