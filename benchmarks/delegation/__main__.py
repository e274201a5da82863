"""Jobs delivered per second, the time from submit to done, connections, memory: ours beside BullMQ 6 (ioredis, undici).

Both deliver the same jobs of the same 38 queues to the same service, with the same body, headers and signature, with as
many at a time of each queue, and have the same Redis. A round is a backlog that is laid while the workers stand still
(SIGSTOP) and then worked off, and jobs at an even pace, of which the time from submit to done is told. Ours goes first
in every second round. Medians of the rounds are told, and of their ratios.

What the two promise is not the same, and it is part of what is compared: ours has each job in a durable ledger before
it says that it has it, BullMQ's is in a Redis that (here) remembers nothing; `--redis durable` has Redis write and sync
every command, for both sides. Ours keeps to a queue's concurrency over the whole fleet, BullMQ's is that of a worker.

`python -m benchmarks.delegation sqlite --jobs 100 --rounds 1` is a look, and no measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from typing import NamedTuple

from benchmarks.delegation.ours import Ours
from benchmarks.delegation.peer import Peer, install, node
from benchmarks.delegation.sides import WORK_MS, Job, Side, queues
from benchmarks.figures import Figures, p50, p99
from benchmarks.ground import Ground, ground
from benchmarks.memory import megabytes, tree
from deploy import connections
from tests.eventually import eventually
from tests.servers.process import free_port

WARM_UP = 200  # Jobs, before anything is measured: connections are open, code is loaded and compiled.
ROUND_LIMIT_S = 300.0
DURABLE_REDIS = ("--appendonly", "yes", "--appendfsync", "always")


class Round(NamedTuple):
    """One side in one round."""

    jobs_per_s: float
    submits_per_s: float
    p50_ms: float
    p99_ms: float


def measure(kind: str, here: Ground, figures: Figures, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        url = _service(here, stack)
        ours = Ours(here, here.ledger(kind), url, stack, processes=options.processes)
        print(f"the ledger on {kind}: {ours.durability()}")
        peer = Peer(here, url, stack)
        sides: list[Side] = [ours, peer]
        for side in sides:
            jobs, _ = side.submit(_mixed(options.warm_up))
            _until_done(side, jobs)
        rounds: dict[str, list[Round]] = {side.name: [] for side in sides}
        for number in range(options.rounds):
            for side in sides if number % 2 else reversed(sides):
                rounds[side.name].append(_round(side, options))
        told = json.load(urllib.request.urlopen(url, timeout=10))
        done = len(sides) * (options.warm_up + options.rounds * (options.jobs + options.paced))
        figures.add(f"posts_repeated_{kind}", told["repeats"], at_most=0)
        figures.add(f"jobs_posted_{kind}", told["jobs"], at_least=done, at_most=done)
        _tell(figures, kind, rounds)
        for side in sides:
            pids = [pid for each in side.workers() for pid in tree(each)]
            figures.add(f"redis_connections_{side.name}_{kind}", connections.to_port(pids, here.redis.port))
            figures.add(f"workers_rss_mb_{side.name}_{kind}", megabytes(pids, "Rss"))
        figures.add(f"beat_rss_mb_ours_{kind}", megabytes(ours.others(), "Rss"))
        ratio = figures[f"workers_rss_mb_ours_{kind}"] / figures[f"workers_rss_mb_bullmq_{kind}"]
        figures.add(f"workers_rss_ratio_{kind}", ratio)


def _round(side: Side, options: argparse.Namespace) -> Round:
    with _standing_still(side.workers()):
        backlog, submit_s = side.submit(_mixed(options.jobs))
        began = time.time()
    worked_off = max(_until_done(side, backlog).values()) - began
    paced, _ = side.submit(_mixed(options.paced), per_s=options.per_s)
    finished = _until_done(side, paced)
    ms = [(end - job.submitted_at) * 1000 for job, end in finished.items()]
    return Round(len(backlog) / worked_off, len(backlog) / submit_s, p50(ms), p99(ms))


def _until_done(side: Side, jobs: Sequence[Job]) -> dict[Job, float]:
    """When each of them was done."""

    def all_done() -> dict[Job, float]:
        finished = side.finished_at(jobs)
        return finished if len(finished) == len(jobs) else {}

    return eventually(f"{side.name}: {len(jobs)} jobs are done", all_done, ROUND_LIMIT_S)


@contextmanager
def _standing_still(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)


def _mixed(count: int) -> list[str]:
    """Queues, each in its turn."""
    return list(islice(cycle(queues()), count))


def _tell(figures: Figures, kind: str, rounds: dict[str, list[Round]]) -> None:
    for what in Round._fields:
        ours, peer = ([getattr(one, what) for one in rounds[name]] for name in ("ours", "bullmq"))
        figures.add(f"{what}_ours_{kind}", statistics.median(ours))
        figures.add(f"{what}_bullmq_beside_{kind}", statistics.median(peer))
        ratio = statistics.median(our / its for our, its in zip(ours, peer, strict=True))
        figures.add(f"{what}_ratio_{kind}", ratio)


def _service(here: Ground, stack: ExitStack) -> str:
    port = free_port()
    env = {**os.environ, "PORT": str(port), "WORK_MS": str(WORK_MS)}
    node("service.mjs", env=env, log=here.folder / "service.log", stack=stack)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            return False
        return True

    eventually("the service answers", answers, within=10)
    return url


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delegation", description="Ours beside BullMQ 6.")
    parser.add_argument("kinds", nargs="*", metavar="DATABASE", help="sqlite, postgresql (both)")
    parser.add_argument("--jobs", type=int, default=1000, help="in the backlog of a round (1000)")
    parser.add_argument("--paced", type=int, default=400, help="at an even pace in a round (400)")
    parser.add_argument("--per-s", type=float, default=40, help="that pace (40 a second)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help=f"jobs before anything is measured ({WARM_UP})")
    parser.add_argument("--processes", type=int, default=1, help="of our fleet (1); BullMQ has one")
    parser.add_argument("--redis", choices=("plain", "durable"), default="plain", help="whether it syncs each command")
    options = parser.parse_args()
    figures = Figures()
    print(f"Node {install()}, queues: {len(queues())}, at most {sum(queues().values())} deliveries at a time")
    words = DURABLE_REDIS if options.redis == "durable" else ()
    with ground(words) as here:
        with here.redis.client() as client:
            print(f"Redis {client.info('server')['redis_version']}, {' '.join(words) or 'without persistence'}")
        for kind in options.kinds or ("sqlite", "postgresql"):
            measure(kind, here, figures, options)
            here.redis.wipe()
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
