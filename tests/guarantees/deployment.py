"""The ground that a guarantee's proof stands on: servers of its own, and processes with default settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

from sqlalchemy import create_engine, text

from benchmarks.ground import DURABLE
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.forked import Forked, fork
from tests.ledgers import Ledgers
from tests.servers import PostgresServer, RedisServer
from tests.servers.postgres import SETTINGS
from tests.servers.process import celadon, kill_group, spawn

ROOT = Path(__file__).resolve().parents[2]
Started = Popen[bytes] | Forked


class Deployment:
    """A ledger, a broker, and `celadon` processes.

    ready_made: they are forked with the libraries loaded (tests/forked.py), where how soon one begins proves nothing.

    Attributes:
        ledger: the ledger's address.
        engine: connections to it that are not the platform's.
    """

    def __init__(self, folder: Path, redis: RedisServer, ledger: str, config: str, *, ready_made: bool = False) -> None:
        self.folder, self.redis, self.ledger, self._config = folder, redis, ledger, config
        self.engine = create_engine(ledger)
        self._ready_made = ready_made
        self._processes: list[Started] = []

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of our processes: every setting not named here is the default."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "CELERY_CONFIG_MODULE": self._config,
            "LEDGER_URL": self.ledger,
            "BROKER_URL": self.redis.url,
            "PROOF_DIR": str(self.folder),
            "LOG_FORMAT": "json",
            "ADMIN_EMAIL": "",
            **(more or {}),
        }

    def start(self, *words: str, name: str = "", **more: str) -> Started:
        """Start `celadon WORDS`; it ends with the deployment at the latest. `more` is laid over its environment."""
        process = self._begin(celadon(*words), name or "-".join(words), self.env(more))
        self._processes.append(process)
        return process

    def _begin(self, command: Sequence[str], name: str, env: Mapping[str, str]) -> Started:
        begin = fork if self._ready_made and command[0] == sys.executable else spawn
        return begin(command, self.folder / f"{name}.log", env=env, cwd=self.folder)

    def present(self, lane: str, processes: int = 1, within: float = 30) -> None:
        """Wait until so many processes of a lane (Beat's is `beat`) say in the ledger that they are there."""

        def seen() -> bool:
            with self.engine.connect() as connection:
                there = text("SELECT count(*) FROM workers WHERE lane = :lane")
                return int(connection.execute(there, {"lane": lane}).scalar_one()) >= processes

        eventually(f"{processes} of {lane} are there", seen, within)

    def stop(self) -> None:
        for process in self._processes:
            kill_group(process)
            process.wait(10)
        self.engine.dispose()


@contextmanager
def deployment(
    folder: Path, kind: str, config: str, *, durable: bool = False, ready_made: bool = False
) -> Iterator[Deployment]:
    """A deployment on a ledger of `kind`, whose jobs this process submits too.

    durable: PostgreSQL syncs to disk, as in production, for proofs that tell times; SQLite does in any case.
    """
    with ExitStack() as stack:
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        redis.start()

        def postgres() -> PostgresServer:
            server = PostgresServer({**SETTINGS, **DURABLE} if durable else SETTINGS)
            stack.callback(server.remove)
            server.start()
            return server

        made = Deployment(folder, redis, Ledgers(folder, postgres).fresh(kind, config), config, ready_made=ready_made)
        stack.callback(made.stop)
        with pointed(ledger_url=made.ledger, broker_url=redis.url, redis_url=None, use_broker="true"):
            yield made
