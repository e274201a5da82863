"""Our side: a worker of the lane `delegated`, and Beat; this process submits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from benchmarks.delegation.sides import CALLERS, KEY, TEXT, Job, queues
from benchmarks.ground import Ground, durability
from tests.eventually import eventually
from tests.servers.process import celadon, kill_group, spawn

_KEY_VARIABLE = "BENCH_SIGNING_KEYS"
_AT_A_TIME = 500  # Rows that are asked for in one statement.


class Ours:
    name = "ours"

    def __init__(self, here: Ground, ledger: str, url: str, stack: ExitStack, *, processes: int) -> None:
        registration = here.folder / "delegation.toml"
        registration.write_text(_registration(url))
        own = {"DELEGATION_FILE": str(registration), _KEY_VARIABLE: KEY, "LOG_LEVEL": "WARNING"}
        self._producer(here, ledger, own)
        commands = [celadon("beat"), *[celadon("worker", "delegated")] * processes]
        started = []
        for number, command in enumerate(commands):
            log = here.folder / f"ours-{number}.log"
            process = spawn(command, log, env=here.env(ledger, own), cwd=Path.cwd())
            stack.callback(process.wait, 10)
            stack.callback(kill_group, process)
            started.append(process.pid)
        self._beat, self._workers = started[0], started[1:]
        self._wait_until_ready()

    def _producer(self, here: Ground, ledger: str, own: Mapping[str, str]) -> None:
        from celadon.settings import override

        override(**own, ledger_timeout_s=30)  # How soon a busy machine answers is told, and fails no round.
        here.produce(ledger)

    def _wait_until_ready(self) -> None:
        from celadon.ledger import limits, presence

        def ready() -> bool:
            limited = {gate.name for gate in limits.every() if gate.rules}
            workers = [worker for worker in presence.alive() if worker.lane == "delegated"]
            return len(workers) == len(self._workers) and limited >= queues().keys()

        eventually("our workers are there, and the limits of their queues", ready, within=60)

    def durability(self) -> str:
        """What the ledger does before it says that a commit is done."""
        from celadon.ledger import db

        return durability(db.engine())

    def submit(self, queues: Sequence[str], *, per_s: float = 0.0) -> tuple[list[Job], float]:
        from celadon import delegate

        began = time.perf_counter()

        def one(number: int) -> Job:
            if per_s:
                time.sleep(max(0.0, began + number / per_s - time.perf_counter()))
            submitted_at = time.time()
            receipt = delegate(queues[number], {"number": number, "text": TEXT})
            return Job(queue=queues[number], id=receipt.job_id, submitted_at=submitted_at)

        with ThreadPoolExecutor(CALLERS) as callers:
            made = list(callers.map(one, range(len(queues))))
        return made, time.perf_counter() - began

    def finished_at(self, jobs: Sequence[Job]) -> dict[Job, float]:
        from sqlalchemy import select

        from celadon.ledger import tables
        from celadon.ledger.db import reading

        of = {job.id: job for job in jobs}
        rows = tables.jobs.c
        found: dict[Job, float] = {}
        with reading() as connection:
            for ids in batched(of, _AT_A_TIME):
                some = select(rows.id, rows.finished_at).where(rows.id.in_(ids), rows.state == "succeeded")
                found |= {of[row.id]: row.finished_at.timestamp() for row in connection.execute(some)}
        return found

    def workers(self) -> list[int]:
        return self._workers

    def others(self) -> list[int]:
        return [self._beat]


def _registration(url: str) -> str:
    """The 38 queues, all of the one service."""
    lines = ["[services]", f'feature = "{url}"']
    for name, concurrency in queues().items():
        lines += [f"[queues.{name}]", 'service = "feature"', f"concurrency = {concurrency}"]
        lines += [f'keys = {{ env = "{_KEY_VARIABLE}" }}', 'networks = ["loopback"]']
    return "\n".join(lines) + "\n"


def batched(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(ids)
    while some := list(islice(left, size)):
        yield some
