"""Everything a run needs around it: servers, a ledger, and a fleet of processes that is kept up."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine

from tests.fence import observer
from tests.fence.faults import Faults
from tests.fence.zygote import Child, Zygote
from tests.ledgers import Ledgers
from tests.servers import PostgresServer, RedisServer, TcpProxy

CONFIG = "tests.fence.celeryconfig"

# The byte of a WAL database's shared memory that its one writer locks (SQLite, "WAL-mode file format").
SQLITE_WRITE_LOCK = "120"

# Every clock of the platform, made fast: a round must see leases run out and messages sent again within seconds.
TIMING = {
    "LEASE_S": "1",
    "RENEW_S": "0.3",
    "TICK_S": "0.2",
    "RESEND_AFTER_S": "0.5",
    "RELIEF_POLL_S": "0.2",
    "CONFIRM_MS": "60",
    "INLINE_BUDGET_S": "2",
    "PRESENCE_S": "2",
    "STALL_S": "1.5",
    "CANARY_S": "1",
    "LOG_LEVEL": "WARNING",
    "ADMIN_EMAIL": "",
}

# Two default workers race for the same jobs; two Beats do the scheduler's work at the same time.
FLEET = {
    "default-1": ("worker", "default"),
    "default-2": ("worker", "default"),
    "data_sync": ("worker", "data_sync"),
    "scheduled": ("worker", "scheduled"),
    "beat-1": ("beat",),
    "beat-2": ("beat",),
}


class World:
    """Servers and processes of one run.

    Args:
        folder: where the history, the faults and the logs go.
        kind: `sqlite` or `postgresql`.
        sabotage: defects of `tests.fence.sabotage` to put into the platform; for the suite's own test.
    """

    def __init__(self, folder: Path, kind: str, sabotage: str = "") -> None:
        self.folder = folder
        self.kind = kind
        self.sabotage = sabotage
        self.faults = Faults(folder / "faults")
        self.history = folder / "history.jsonl"
        self.redis = RedisServer(folder)
        self.proxy = TcpProxy(self.redis.port)
        self.fleet: dict[str, Child] = {}
        self.engine: Engine
        self._postgres: PostgresServer | None = None
        self._workers: Zygote
        self._submitters: Zygote

    def start(self) -> None:
        self.faults.prepare()
        self.redis.start()
        self.proxy.start()
        ledgers = Ledgers(self.folder, self._start_postgres, {"FENCE_DIR": str(self.folder)})
        url = ledgers.fresh(self.kind, CONFIG)
        # Longer than any process is kept frozen with SQLite's write lock in its hands.
        self.engine = create_engine(url, connect_args={"timeout": 20} if self.kind == "sqlite" else {})
        observer.install(self.engine)
        # Only submitters go through the proxy: slowness and half-open connections are what a caller must survive.
        self._workers = Zygote(self._env(url, self.redis.port), self.folder, "zygote-workers", door=True)
        self._submitters = Zygote(self._env(url, self.proxy.port), self.folder, "zygote-submitters")
        self._workers.ready()
        self._submitters.ready()

    def stop(self) -> None:
        for child in self.fleet.values():
            child.kill_group()
        self._workers.stop()
        self._submitters.stop()
        self._kill_orphans()
        self.engine.dispose()
        self.proxy.stop()
        self.redis.thaw()
        self.redis.stop()
        if self._postgres is not None:
            self._postgres.remove()

    def _kill_orphans(self) -> None:
        """End what outlived its parents: jobs in quarantine, children of killed pools. They carry this run's folder."""
        mark = f"\0FENCE_DIR={self.folder}\0".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in b"\0" + environ.read_bytes():
                    os.kill(int(environ.parent.name), signal.SIGKILL)

    def holds_up(self, pid: int) -> bool:
        """Whether a process that was stopped has SQLite's only write lock in its hands: then nobody can go on."""
        if self.kind != "sqlite":
            return False
        file = os.stat(f"{self.engine.url.database}-shm").st_ino
        with open("/proc/locks") as locks:
            return any(
                words[1:4] == ["POSIX", "ADVISORY", "WRITE"]
                and int(words[4]) == pid
                and words[5].endswith(f":{file}")
                and words[6] == SQLITE_WRITE_LOCK
                for words in map(str.split, locks)
            )

    def tend(self) -> list[int]:
        """Put a new process where one has died; the ids of those that have."""
        dead = []
        for name, run in FLEET.items():
            child = self.fleet.get(name)
            if child is None or not child.alive:
                if child is not None:
                    child.close()
                    dead.append(child.pid)
                self.fleet[name] = self._workers.fork(name, run)
        return dead

    def submitter(self, number: int, share: list[dict[str, object]]) -> Child:
        return self._submitters.fork(f"submitter-{number}", ["submit", number, share])

    def operator(self, *words: object) -> Child:
        return self._workers.fork("operator", ["operate", *words])

    def _start_postgres(self) -> PostgresServer:
        self._postgres = PostgresServer()
        self._postgres.start()
        return self._postgres

    def _env(self, ledger: str, redis_port: int) -> dict[str, str]:
        broker = self.redis.url_through(redis_port)
        return {
            **os.environ,
            **TIMING,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "CELERY_CONFIG_MODULE": CONFIG,
            "FENCE_DIR": str(self.folder),
            "FENCE_SABOTAGE": self.sabotage,
            "LEDGER_URL": ledger,
            "BROKER_URL": broker,
            "REDIS_URL": broker,
        }


@contextmanager
def world(folder: Path, kind: str, sabotage: str = "") -> Iterator[World]:
    """A started world, stopped at the end."""
    made = World(folder, kind, sabotage)
    try:
        made.start()
        yield made
    finally:
        made.stop()
