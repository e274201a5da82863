"""A fleet under a supervisor: workers that are started again when they end, jobs, and what became of them."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from tests.eventually import eventually
from tests.guarantees.deployment import Deployment, Started
from tests.ledgers import Ledgers
from tests.live.caller import Caller
from tests.live.effects import effects, metadata
from tests.servers import PostgresServer, RedisServer
from tests.servers.process import celadon, kill_group

CONFIG = "tests.guarantees.recovery_config"
LOOK_S = 0.05


class Fleet(Deployment):
    """Workers by name, each of one lane. They come again by themselves until `stop`."""

    def __init__(
        self, folder: Path, redis: RedisServer, ledger: str, settings: Mapping[str, str], *, ready_made: bool
    ) -> None:
        super().__init__(folder, redis, ledger, CONFIG, ready_made=ready_made)
        metadata.create_all(self.engine)
        self._settings = dict(settings)
        self._workers: dict[str, tuple[Sequence[str], Started]] = {}
        self.deaths: Counter[str] = Counter()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._watching: threading.Thread | None = None
        # How soon a busy machine answers a submission is not what is proven.
        self.call = Caller(self.env({"LEDGER_TIMEOUT_S": "60"}), folder)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**super().env(), "LOG_LEVEL": "INFO", **self._settings, **(more or {})}

    # --- workers

    def work(self, lane: str, *words: str, name: str = "", inside: Path | None = None) -> None:
        """Have a worker of the lane from now on. inside: the cgroup that it and all its processes are in."""
        command: list[str] = celadon("worker", lane, *words)
        if inside is not None:
            command = ["sh", "-c", f'echo $$ > {inside}/cgroup.procs && exec "$@"', "sh", *command]
        with self._lock:
            self._workers[name or lane] = (command, self._begin(command, name or lane, self.env()))
        if self._watching is None:
            # The workers die with the thread that started them, so it goes on until the end.
            self._watching = threading.Thread(target=self._watch, name="fleet", daemon=True)
            self._watching.start()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            with self._lock:
                for name, (command, process) in self._workers.items():
                    if process.poll() is not None and not self._ended.is_set():
                        self.deaths[name] += 1
                        self._workers[name] = (command, self._begin(command, name, self.env()))

    def pid(self, name: str) -> int:
        with self._lock:
            return self._workers[name][1].pid

    def kill(self, name: str, *, whole: bool) -> None:
        """`kill -9` to a worker's main process, or to everything in its group."""
        with self._lock:
            process = self._workers[name][1]
            if whole:
                kill_group(process)
            else:
                process.kill()

    def stop(self) -> None:
        self._ended.set()
        if self._watching is not None:
            self._watching.join(10)
        self.call.stop()
        for _, process in self._workers.values():
            kill_group(process)
            process.wait(10)
        super().stop()

    # --- jobs

    def submit(self, job: str, name: str, queue: str, **payload: Any) -> str:
        """Submit a job to the queue that has the name of its lane; returns its id."""
        receipt = self.call.submit(job, name, payload=payload, queue=queue)
        return str(receipt["job_id"])

    def until_beat_judges(self) -> None:
        """Wait for the end of the first lease of Beat's own, during which it puts nothing back and blames nobody."""
        log = self.folder / "beat.log"

        def judges() -> bool:
            for line in log.read_text().splitlines() if log.exists() else ():
                if '"reaper.waits"' in line:
                    told = json.loads(line)
                    since = datetime.now(UTC) - datetime.fromisoformat(told["timestamp"])
                    return since > timedelta(seconds=told["seconds"])
            return False

        eventually("Beat judges leases", judges, within=60)

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    # --- what became of them

    def starts(self) -> dict[str, list[int]]:
        """When the bodies of each job began, in nanoseconds of this host's clock."""
        made: dict[str, list[int]] = defaultdict(list)
        file = self.folder / "began"
        for line in file.read_text().splitlines() if file.exists() else ():
            when, name, _ = line.split()
            made[name].append(int(when))
        return made

    def rows(self, *columns: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(f"SELECT {', '.join(columns)} FROM jobs")).all())

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.rows("state"))

    def dead(self) -> set[str]:
        return {row.id for row in self.rows("id", "state") if row.state == "dead"}

    def outcomes(self, job_id: str) -> list[str]:
        with self.engine.connect() as connection:
            told = text("SELECT outcome FROM attempts WHERE job_id = :id ORDER BY epoch")
            return list(connection.execute(told, {"id": job_id}).scalars())

    def effects(self) -> Counter[str]:
        """How many effects each job has committed."""
        with self.engine.connect() as connection:
            return Counter(connection.execute(select(effects.c.name)).scalars())

    def until_all(self, ids: Sequence[str], state: str, within: float) -> None:
        wanted = set(ids)

        def missing() -> int:
            return len(wanted - {row.id for row in self.rows("id", "state") if row.state == state})

        eventually(f"all of {len(wanted)} are {state} ({self.states()})", lambda: missing() == 0, within)


@contextmanager
def fleet(
    folder: Path,
    kind: str,
    *,
    lanes: Mapping[str, Mapping[str, Any]] | None = None,
    redis_options: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    ready_made: bool = False,
) -> Iterator[Fleet]:
    """A fleet without workers yet, on a ledger of `kind`, with one Beat.

    lanes: what is changed of the project's lanes. settings: what is changed of the platform's defaults.
    """
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        redis = RedisServer(folder, redis_options)
        stack.callback(redis.stop)
        redis.start()

        def postgres() -> PostgresServer:
            server = PostgresServer()
            stack.callback(server.remove)
            server.start()
            return server

        changed = {**(settings or {}), "PROOF_LANES": json.dumps(lanes or {})}
        made = Fleet(folder, redis, Ledgers(folder, postgres).fresh(kind, CONFIG), changed, ready_made=ready_made)
        stack.callback(made.stop)
        made.start("beat")
        yield made
