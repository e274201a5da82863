"""G13: poison work is bounded. A job that kills what it runs in is dead after three crashes, and nobody else is.

On each lane poison jobs of two kinds are mixed among innocent ones: some kill their own process, some their whole
worker with everything in it. The long form adds a worker in a container's bounds, with jobs that swell beyond them.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from benchmarks.figures import Figures
from tests.eventually import eventually
from tests.guarantees.fleet import Fleet, fleet
from tests.guarantees.memory import bounded, can_be_bounded

LANES = ("default", "scheduled", "data_sync")
CRASH_LIMIT = 3
# The platform's clocks made fast: how soon a job runs again is G3's.
QUICK = {"LEASE_S": "1.5", "RENEW_S": "0.4", "TICK_S": "0.1", "RESEND_AFTER_S": "1", "PRESENCE_S": "3"}
CONTAINER_BYTES = 512 << 20


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    random.seed(13)
    lanes = {lane: {"lease_s": None} for lane in LANES}
    kind = "postgresql" if long else "sqlite"
    with fleet(folder / "g13", kind, lanes=lanes, settings=QUICK, ready_made=not long) as here:
        innocent: dict[str, str] = {}
        poison: dict[str, str] = {}
        for lane in LANES if long else SHORT:
            for number in range(2 if long else 1):
                here.work(lane, name=f"{lane}-{number}")
            many, kinds = (300, ("proof.dies", "proof.kills.all") * 2) if long else (20, (SHORT[lane],))
            if lane == "data_sync":
                many //= 4  # It has two slots.
            names = [f"{lane}-{number}" for number in range(many)]
            for number, name in enumerate(names):
                if number % (many // len(kinds)) == many // len(kinds) // 2:
                    kind = kinds[len(poison) % len(kinds)]
                    poison[f"poison-{name}"] = here.submit(kind, f"poison-{name}", lane)
                innocent[name] = here.submit("proof.run", name, lane, seconds=round(random.uniform(0.1, 1.5), 2))
        _judge(figures, here, innocent, poison, "", within=900 if long else 60)
    if long and can_be_bounded():
        with (
            bounded("celadon-g13", CONTAINER_BYTES) as cgroup,
            fleet(folder / "oom", "postgresql", settings=QUICK) as here,
        ):
            here.work("default", inside=cgroup)
            # Together in one process the innocent have room; each in a process of its own they have not.
            innocent = {f"{n}": here.submit("proof.run", f"{n}", "default", seconds=2, ballast_mb=5) for n in range(50)}
            poison = {f"p{n}": here.submit("proof.swells", f"p{n}", "default") for n in range(2)}
            _judge(figures, here, innocent, poison, "_in_a_container", within=900)


SHORT = {"default": "proof.kills.all", "data_sync": "proof.dies"}


def _judge(
    figures: Figures, here: Fleet, innocent: dict[str, str], poison: dict[str, str], where: str, *, within: float
) -> None:
    eventually(
        "the poison is dead and the innocent are done",
        lambda: here.dead() >= set(poison.values()) and here.states()["succeeded"] >= len(innocent),
        within,
    )
    rows = {row.id: row for row in here.rows("id", "state", "crashes", "error_kind")}
    effects = here.effects()
    figures.add(f"innocent{where}", len(innocent))
    figures.add(f"innocent_not_done{where}", sum(rows[i].state != "succeeded" for i in innocent.values()), at_most=0)
    figures.add(f"innocent_not_done_once{where}", sum(effects[name] != 1 for name in innocent), at_most=0)
    figures.add(f"poison{where}", len(poison))
    convicted = sum(
        (rows[i].state, rows[i].crashes, rows[i].error_kind) == ("dead", CRASH_LIMIT, "CrashLimit")
        for i in poison.values()
    )
    figures.add(f"poison_dead_of_{CRASH_LIMIT}_crashes{where}", convicted, at_least=len(poison))
    runs = Counter(len(here.outcomes(i)) for i in poison.values())
    # Once among others, once beside other suspects, and three times as the only one; and whenever another poison
    # that nobody suspected yet killed another worker at the same moment, which happens twice to each.
    most = CRASH_LIMIT + 2 * len(poison)
    figures.add(f"most_runs_of_a_poison{where}", max(runs), at_most=most if not where else None)
    figures.add(f"workers_killed{where}", sum(here.deaths.values()))
    _healthy(figures, here, where)


def _healthy(figures: Figures, here: Fleet, where: str) -> None:
    """After all that every lane takes a job at once."""
    lanes = sorted({row.queue for row in here.rows("queue")})
    ids = [here.submit("proof.run", f"after-{lane}", lane, seconds=0) for lane in lanes]
    here.until_all(ids, "succeeded", within=20)
    figures.add(f"lanes_healthy{where}", len(lanes))
