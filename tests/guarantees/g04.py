"""G4: a job that outlives its lease, the broker's visibility time-out and every other one still runs once.

The lease is a hundredth of the run. The visibility time-out is the shortest there is, so that Redis hands the message
of a running job out again and again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Figures
from tests.eventually import eventually
from tests.guarantees.fleet import Fleet, fleet
from tests.ledgers import KINDS

RATIO = 100
LANES = {"default": "threads", "data_sync": "prefork"}
VISIBILITY_S = 1


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    seconds, jobs = (105.0, {"default": 20, "data_sync": 2}) if long else (12.5, {"default": 4, "data_sync": 2})
    with ThreadPoolExecutor(len(KINDS)) as pool:
        told = {kind: pool.submit(_on, folder / f"g04-{kind}", kind, seconds, jobs, not long) for kind in KINDS}
    for kind, future in told.items():
        for name, value in future.result().items():
            if name == "redelivered":
                figures.add(f"{name}_{kind}", value, at_least=1)
            else:
                figures.add(f"{name}_{kind}", value, at_most=None if name == "jobs" else 0)
    figures.add("leases_per_run", RATIO)


def _on(folder: Path, kind: str, seconds: float, jobs: dict[str, int], ready_made: bool) -> dict[str, float]:
    lease_s = seconds / RATIO
    clocks = {"LEASE_S": f"{lease_s:g}", "RENEW_S": f"{lease_s / 3.5:.4f}"}
    changed = {lane: {"lease_s": None, "visibility_s": VISIBILITY_S} for lane in LANES}
    with fleet(folder, kind, lanes=changed, settings=clocks, ready_made=ready_made) as here:
        for lane in LANES:
            here.work(lane)
        names = {f"{lane}-{number}": lane for lane, many in jobs.items() for number in range(many)}
        ids = {name: here.submit("proof.run", name, lane, seconds=seconds) for name, lane in names.items()}
        eventually("all have begun", lambda: len(here.starts()) == len(names), within=30)
        here.until_all(list(ids.values()), "succeeded", within=seconds + 30)
        return _told(here, ids)


def _told(here: Fleet, ids: dict[str, str]) -> dict[str, float]:
    starts, effects = here.starts(), here.effects()
    with here.redis.client() as client:
        # Sending pushes at one end of a queue, handing out again at the other.
        restored = client.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0)
    return {
        "jobs": len(ids),
        "runs_too_many": sum(len(starts[name]) - 1 for name in ids),
        "doubled_effects": sum(effects[name] - 1 for name in ids),
        "not_one_attempt": sum(here.outcomes(job_id) != ["succeeded"] for job_id in ids.values()),
        "redelivered": restored,
    }
