"""A running Celadon for the live tests: servers, a ledger, Beat, a producer, and workers as a test asks for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, select, text

from tests.eventually import eventually
from tests.forked import Forked, fork, run
from tests.live.caller import Caller
from tests.live.effects import effects, metadata
from tests.live.gates import Gates
from tests.live.nodes import Worker, WorkerProcess, Workers
from tests.servers import RedisServer
from tests.servers.process import celadon, kill_group

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "tests.live.celeryconfig"

# Clocks of the platform made fast; the lease is long enough for a busy host and short enough to wait for.
TIMING = {
    "LEASE_S": "1.5",
    "RENEW_S": "0.4",
    "TICK_S": "0.05",
    "RESEND_AFTER_S": "0.5",
    "RELIEF_POLL_S": "0.1",
    "CONFIRM_MS": "2000",
    "PRESENCE_S": "3",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
    "ADMIN_EMAIL": "",
}
LEASE_S = float(TIMING["LEASE_S"])


@dataclass
class Platform:
    """One deployment. `redis` and `ledger` belong to whoever made it."""

    folder: Path
    redis: RedisServer
    ledger: str
    more: Mapping[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        (self.folder / "gates").mkdir(parents=True, exist_ok=True)
        self.gates = Gates(self.folder / "gates")
        self.engine: Engine = create_engine(self.ledger)
        metadata.create_all(self.engine)
        self._nodes: list[Worker] = []
        self._callers: list[Caller] = []
        self._beats: list[Forked] = []

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            **TIMING,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "CELERY_CONFIG_MODULE": CONFIG,
            "LIVE_DIR": str(self.folder),
            "LEDGER_URL": self.ledger,
            "BROKER_URL": self.redis.url,
            **self.more,
        }

    # --- processes

    def worker(self, lane: str, *words: str, **more: str) -> Worker:
        """A worker of `lane`, not started yet; `more` is laid over its environment."""
        name = f"{lane}-{next(self._numbers)}"
        node = Worker(WorkerProcess(lane, {**self.env, **more}, self.folder, name, words))
        self._nodes.append(node)
        return node

    def started(self, lane: str, *words: str, **more: str) -> Worker:
        """A worker of `lane` that consumes."""
        node = self.worker(lane, *words, **more)
        Workers(node).start()
        return node

    def beat(self) -> Forked:
        process = fork(celadon("beat"), self.folder / "beat.log", env=self.env, cwd=self.folder)
        self._beats.append(process)
        return process

    def caller(self, **more: str) -> Caller:
        """A producer process; `more` is laid over its environment."""
        made = Caller({**self.env, **more}, self.folder, f"caller-{next(self._numbers)}")
        self._callers.append(made)
        return made

    def command(self, *words: str) -> str:
        """Run `celadon WORDS`; returns what it printed."""
        done = run(celadon(*words), env=self.env, cwd=self.folder, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        for caller in self._callers:
            caller.stop()
        for node in self._nodes:
            node.teardown()
        for beat in self._beats:
            kill_group(beat)
            beat.wait(10)
        self.engine.dispose()

    # --- what the ledger says, read past the platform

    def job(self, job_id: str) -> dict[str, Any]:
        """The job's row, empty if there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).mappings().first()
        return dict(row) if row else {}

    def attempts(self, job_id: str) -> list[str]:
        """Outcomes of the job's attempts, in order."""
        with self.engine.connect() as connection:
            told = text("SELECT outcome FROM attempts WHERE job_id = :id ORDER BY epoch")
            return list(connection.execute(told, {"id": job_id}).scalars())

    def effects(self, name: str) -> list[str]:
        """Steps whose effects are committed for a test's job, in order, doubles included."""
        with self.engine.connect() as connection:
            return list(
                connection.execute(
                    select(effects.c.step).where(effects.c.name == name).order_by(effects.c.id)
                ).scalars()
            )

    def until(self, job_id: str, state: str, within: float = 15) -> dict[str, Any]:
        """Wait for the job to come to a state; returns its row."""
        return eventually(
            f"job {job_id} is {state} (now: {self.job(job_id)})",
            lambda: self.job(job_id) if self.job(job_id).get("state") == state else {},
            within,
        )

    def attempts_are(self, job_id: str, *outcomes: str, within: float = 10) -> None:
        """Wait until the job's attempts have exactly these outcomes."""
        eventually(
            f"the attempts of {job_id} are {outcomes}, not {self.attempts(job_id)}",
            lambda: self.attempts(job_id) == list(outcomes),
            within,
        )

    def reached(self, name: str, times: int = 1, within: float = 15) -> list[int]:
        """Wait until jobs have come to a gate so often; returns the processes."""
        return eventually(
            f"the gate {name} is reached {times} times",
            lambda: pids if len(pids := self.gates.reached(name)) >= times else [],
            within,
        )


class Warm(Platform):
    """A deployment that many tests share: Beat, a producer, and one worker for each lane."""

    def start(self) -> None:
        self.beat()
        self.lanes = {lane: self.worker(lane) for lane in ("default", "data_sync", "scheduled")}
        Workers(*self.lanes.values()).start()
        self.call = self.caller()

    def mend(self) -> None:
        """Start what a test has killed or stopped."""
        dead = [node for node in self.lanes.values() if node.container.status != "running"]
        if dead:
            Workers(*dead).start()

    def again(self, lane: str) -> Worker:
        """Start a lane's dead worker again, as a supervisor would; returns when it consumes."""
        node = self.lanes[lane]
        Workers(node).start()
        return node
