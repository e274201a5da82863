"""G7: an outside effect is at least once, and every repeat carries the key of the first time.

Jobs are delivered over HTTP to a service that does its work and may then cut the connection, or say nothing, or cut it
before it has done anything; meanwhile the workers that deliver are killed by turns. The service keeps every request
that comes in; nothing there hides a repeat. That it works once all the same is what the key is good for.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from tests.eventually import eventually
from tests.guarantees.fleet import Fleet, fleet
from tests.servers import FeatureServer
from tests.servers.feature import Peer, Received, answer, cut, hang, state, succeed

QUEUE = "effects"
# The platform's clocks made fast: how soon a job runs again is G3's.
QUICK = {"LEASE_S": "1.5", "RENEW_S": "0.4", "TICK_S": "0.1", "RESEND_AFTER_S": "1", "PRESENCE_S": "3"}
WORKERS = ("delegated-0", "delegated-1")
TIMEOUT_MS = 1000
AT_ONCE = 8  # Over both workers. What was in a worker that is killed runs alone next time, which takes a while.
WORK_S = (0.05, 0.4)
LONG, SHORT = (1000, 12), (40, 2)  # Jobs, and workers that are killed.
# How a POST goes on, and of how many in a hundred.
FATES = {"well": 55, "cut before": 15, "cut after": 20, "silent after": 10}


class Service:
    """Does each job once by its key, and honours no wish for good behaviour."""

    def __init__(self, seed: int) -> None:
        self.server = FeatureServer()
        self.server.otherwise = {"POST": self._post, "GET": self._ask}
        self.effects: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self._at_work: set[str] = set()
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def _post(self, peer: Peer, received: Received) -> None:
        key = received.key or ""
        with self._lock:
            done, busy = self.effects[key] > 0, key in self._at_work
            fate = self._random.choices(list(FATES), weights=list(FATES.values()))[0]
            work_s = self._random.uniform(*WORK_S)
            if not done and not busy:
                self.fates[fate] += 1
                if fate != "cut before":
                    self._at_work.add(key)
        if busy:
            answer(409, {"success": False, "error": "at work"})(peer, received)
        elif done:
            succeed(key)(peer, received)
        elif fate == "cut before":
            cut(peer, received)
        else:
            self._do(key, work_s)
            {"well": succeed(key), "cut after": cut, "silent after": hang}[fate](peer, received)

    def _do(self, key: str, work_s: float) -> None:
        time.sleep(work_s)
        with self._lock:
            self.effects[key] += 1
            self._at_work.discard(key)

    def _ask(self, peer: Peer, received: Received) -> None:
        key = received.path.rpartition("/")[2]
        with self._lock:
            done, busy = self.effects[key] > 0, key in self._at_work
        told = state("done", success=True, result=key) if done else state("running" if busy else "unknown")
        told(peer, received)


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    jobs, kills = LONG if long else SHORT
    service = Service(seed=7)
    service.server.start()
    registration = folder / "delegation.toml"
    registration.write_text(
        f'[services]\nfeature = "{service.server.url}"\n[queues.{QUEUE}]\nservice = "feature"\n'
        f'concurrency = {AT_ONCE}\ntimeout = {TIMEOUT_MS}\nbackoff_ms = 100\nnetworks = ["loopback"]\n'
    )
    settings = {**QUICK, "DELEGATION_FILE": str(registration)}
    lanes = {"delegated": {"concurrency": AT_ONCE}}
    try:
        kind = "postgresql" if long else "sqlite"
        with fleet(folder / "g07", kind, lanes=lanes, settings=settings, ready_made=not long) as here:
            ids = [_submitted(here, number) for number in range(jobs)]
            here.until_beat_judges()
            for name in WORKERS:
                here.work("delegated", name=name)
            for number in range(kills):
                _once_more_is_done(service, jobs * (number + 1) // (kills + 2))
                here.kill(WORKERS[number % len(WORKERS)], whole=number % 2 == 0)
            here.until_all(ids, "succeeded", within=900 if long else 90)
            figures.add("workers_killed", sum(here.deaths.values()), at_least=kills)
            _judge(figures, here, service, ids)
    finally:
        service.server.stop()


def _submitted(here: Fleet, number: int) -> str:
    receipt: dict[str, Any] = here.call.ask("submit", "delegation.deliver", {"data": number}, queue=QUEUE)
    return str(receipt["job_id"])


def _once_more_is_done(service: Service, effects: int) -> None:
    """Kills fall into the work, and not all of them into its beginning."""
    eventually(f"{effects} effects", lambda: service.effects.total() >= effects, within=300)


def _judge(figures: Figures, here: Fleet, service: Service, ids: list[str]) -> None:
    posts: dict[str, list[Received]] = defaultdict(list)
    for post in service.server.of("POST"):
        posts[post.told["jobId"]].append(post)
    repeats = [post for of_one in posts.values() for post in of_one[1:]]
    burnt = {i: sum(outcome in ("failed", "timed_out") for outcome in here.outcomes(i)) for i in ids}
    figures.add("jobs", len(ids))
    for fate in FATES:
        figures.add(f"posts_{fate.replace(' ', '_')}", service.fates[fate])
    figures.add("repeats", len(repeats), at_least=1)
    figures.add("repeats_with_the_key_of_the_first_percent", _percent(repeats, posts), at_least=100)
    figures.add("posts_whose_key_is_not_the_job", sum(p.key != i for i, of in posts.items() for p in of), at_most=0)
    beyond = sum(post.told["attemptsMade"] > burnt[i] for i, of_one in posts.items() for post in of_one)
    figures.add("posts_numbered_beyond_the_tries_that_failed", beyond, at_most=0)
    figures.add("jobs_never_done", sum(service.effects[i] == 0 for i in ids), at_most=0)
    figures.add("effects_doubled_where_the_key_is_honoured", sum(service.effects[i] - 1 for i in ids), at_most=0)


def _percent(repeats: list[Received], posts: dict[str, list[Received]]) -> float:
    same = sum(post.key == posts[post.told["jobId"]][0].key for post in repeats)
    return 100 * same / len(repeats) if repeats else 0.0
