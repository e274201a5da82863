"""G16: Redis is full and evicts nothing. Jobs finish and fail, health tells the truth, submissions go to the ledger.

A fleet works; then Redis takes no byte more; then it has room again. Nothing is lost on the way.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from tests.eventually import eventually
from tests.guarantees.fleet import Fleet, fleet
from tests.servers.process import free_port

FULL = ("--maxmemory-policy", "noeviction")


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    many, seconds = (2000, 60.0) if long else (40, 2.0)
    kind = "postgresql" if long else "sqlite"
    with fleet(folder / "g16", kind, redis_options=FULL, ready_made=not long) as here:
        port = free_port()
        here.start("web", "--bind", f"127.0.0.1:{port}", WEB_WORKERS="1")
        heartbeats = []
        for lane in ("default", "data_sync"):
            # Each its own: the file of one that lives would hide that the other is dead.
            heartbeats.append(here.folder / f"heartbeat-{lane}")
            here._settings["HEARTBEAT_FILE"] = str(heartbeats[-1])
            here.work(lane)
        ids = [here.submit("proof.run", f"held-{n}", "default", seconds=0, gate="go-on") for n in range(10)]
        eventually("they have begun", lambda: len(here.starts()) == 10, within=30)
        backlog = [here.submit("proof.run", f"before-{n}", "data_sync", seconds=0.01) for n in range(many // 20)]
        eventually("web answers", lambda: health(port), within=30)

        with here.redis.client() as client:
            client.config_set("maxmemory", 1)  # Whatever it holds is more than that.
        outcomes = _while_full(figures, here, port, many, seconds, ids, backlog)
        figures.add("degraded_to_the_ledger", sum(o != "queued" for o in outcomes), at_least=len(outcomes) - 1)
        oldest = min(file.stat().st_mtime for file in heartbeats)
        figures.add("heartbeat_age_s", time.time() - oldest, at_most=10)

        here.redis.make_room()
        _afterwards(figures, here, port, ids)


def _while_full(
    figures: Figures, here: Fleet, port: int, many: int, seconds: float, ids: list[str], backlog: list[str]
) -> list[str]:
    outcomes: list[str] = []
    fails = []
    pause = seconds / many
    for number in range(many):
        lane = "default" if number % 20 else "data_sync"  # Of processes, which relief starts one by one.
        receipt = here.call.submit("proof.run", f"full-{number}", payload={"seconds": 0.01}, queue=lane)
        outcomes.append(receipt["outcome"])
        ids.append(receipt["job_id"])
        if number % 10 == 0:
            fails.append(here.submit("proof.fails", f"fails-{number}", "default"))
        time.sleep(pause)
    here.open("go-on")
    figures.add("submissions_while_full", len(outcomes))
    here.until_all([*ids, *backlog], "succeeded", within=180)  # By relief: Redis is still full.
    here.until_all(fails, "dead", within=60)
    figures.add("finished_while_full", len(ids) + len(backlog))
    figures.add("failed_while_full", len(fails))
    told = health(port)
    figures.add("health_says_degraded", told["dependencies"]["broker"]["status"] == "down", at_least=1)
    ids.extend(backlog)
    return outcomes


def _afterwards(figures: Figures, here: Fleet, port: int, ids: list[str]) -> None:
    """With room again work goes by the broker: a worker that was sent the id is named as who picked it up."""
    began = time.monotonic()

    def by_the_broker() -> bool:
        number = len(ids)
        receipt: dict[str, Any] = here.call.submit(
            "proof.run", f"after-{number}", payload={"seconds": 0}, queue="default", confirm=True
        )
        ids.append(receipt["job_id"])
        return bool(receipt["outcome"] == "picked_up")

    eventually("a submission is picked up from the broker", by_the_broker, within=30)
    figures.add("by_the_broker_again_s", time.monotonic() - began)
    eventually("health is ok", lambda: (health(port) or {}).get("status") == "ok", within=10)
    here.until_all(ids, "succeeded", within=30)
    effects = here.effects()
    figures.add("lost", len(ids) - len(effects), at_most=0)
    figures.add("doubled_effects", sum(count - 1 for count in effects.values()), at_most=0)
    figures.add("workers_that_ended", sum(here.deaths.values()), at_most=0)


def health(port: int) -> dict[str, Any]:
    """What `/health` says; empty while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return dict(json.load(answer))
    except OSError:
        return {}
