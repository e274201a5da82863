"""G3: after `kill -9` of a worker the jobs it had claimed run again, soon and once. All settings are the defaults.

Each round lets jobs of a lane wait at a gate, kills the lane's worker, opens the gate, and has more work come than the
lane has slots for until the bar is over. The time of a job is from the kill to the first line of its body in the next
run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import text

from benchmarks.figures import Figures, p50, p99
from tests.eventually import eventually
from tests.guarantees.fleet import Fleet, fleet

LANES = ("default", "scheduled", "data_sync")
BAR_S = 15.0
OVER_LEASE_S = 5.0  # On a lane with a longer lease.
SHORT_LEASE_S = 8.0  # Of data_sync in the short form: its own half a minute is the long form's.
# The backlog: for each lane, more jobs than it has slots, each of which keeps a slot for longer than the bar.
BACKLOG = {"default": 70, "scheduled": 15, "data_sync": 4}


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    lease_s = 30.0 if long else SHORT_LEASE_S
    lanes = {} if long else {"data_sync": {"lease_s": lease_s}}
    with fleet(folder / "g03", "postgresql" if long else "sqlite", lanes=lanes) as here:
        rounds = {"default": 10, "scheduled": 10, "data_sync": 5} if long else dict.fromkeys(LANES, 1)
        jobs = (
            {"default": 50, "scheduled": 10, "data_sync": 2}
            if long
            else {"default": 20, "scheduled": 5, "data_sync": 2}
        )
        for lane in LANES:
            here.work(lane)
        here.until_beat_judges()
        bars = {lane: lease_s + OVER_LEASE_S if lane == "data_sync" else BAR_S for lane in LANES}
        submitting = threading.Lock()
        with ThreadPoolExecutor(len(LANES)) as pool:
            told = {
                lane: pool.submit(_lane, here, lane, rounds[lane], jobs[lane], bars[lane], submitting) for lane in LANES
            }
        seconds = {lane: future.result() for lane, future in told.items()}
        for lane in LANES:
            figures.add(f"kills_{lane}", rounds[lane])
            figures.add(f"jobs_{lane}", len(seconds[lane]))
            figures.add(f"runs_again_p50_s_{lane}", p50(seconds[lane]))
            figures.add(f"runs_again_p99_s_{lane}", p99(seconds[lane]), at_most=bars[lane])
        figures.add("doubled_effects", sum(count - 1 for count in here.effects().values()), at_most=0)
        figures.add("dead", len(here.dead()), at_most=0)


def _lane(here: Fleet, lane: str, rounds: int, jobs: int, bar_s: float, submitting: threading.Lock) -> list[float]:
    seconds: list[float] = []
    for number in range(rounds):
        told, backlog = _round(here, lane, number, jobs, bar_s, submitting)
        seconds += told
        if number + 1 < rounds:  # The next round's jobs have to get their slots.
            here.until_all(backlog, "succeeded", within=10 * bar_s)
    return seconds


def _round(
    here: Fleet, lane: str, number: int, jobs: int, bar_s: float, submitting: threading.Lock
) -> tuple[list[float], list[str]]:
    gate = f"gate-{lane}-{number}"
    names = [f"{lane}-{number}-{job}" for job in range(jobs)]
    with submitting:
        ids = [here.submit("proof.run", name, lane, seconds=0, gate=gate) for name in names]
    eventually(f"all of {gate} have begun", lambda: all(map(here.starts().get, names)), within=60)
    claimed = claimed_by_one(here, ids)
    killed = time.time_ns()
    here.kill(lane, whole=number % 2 == 0)  # The host, and the process alone, by turns.
    here.open(gate)
    with submitting:
        backlog = [
            here.submit("proof.run", f"backlog-{lane}-{number}-{job}", lane, seconds=bar_s + 5)
            for job in range(BACKLOG[lane])
        ]
    here.until_all(ids, "succeeded", within=90)
    starts = here.starts()
    again = [[when for when in starts[name] if when > killed] for name in names]
    figures = [(min(whens) - killed) / 1e9 for whens in again if whens]
    # Whose process outlived its worker may have come to its end: it need not run again, but then it must be done.
    effects = here.effects()
    assert all(effects[name] for name in names)
    assert number % 2 or len(figures) == claimed, "a job of the dead worker did not run again"
    return figures, backlog


def claimed_by_one(here: Fleet, ids: Sequence[str]) -> int:
    with here.engine.connect() as connection:
        running = text("SELECT id FROM jobs WHERE state = 'running'")
        return len(set(connection.execute(running).scalars()) & set(ids))
