"""The ground a benchmark stands on: a private Redis, durable databases, and this process as a producer of ours."""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from sqlalchemy import Engine

from benchmarks.figures import Figures
from tests.ledgers import Ledgers
from tests.servers import PostgresServer, RedisServer
from tests.servers.postgres import SETTINGS

CONFIG = "benchmarks.celeryconfig"

# Correctness tests may turn durability off, a comparison of costs may not. These are PostgreSQL's own defaults.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Ground:
    """Servers of this run.

    Attributes:
        folder: gone afterwards.
        redis: without persistence, for both sides alike.
    """

    def __init__(self, folder: Path, redis: RedisServer, ledgers: Ledgers) -> None:
        self.folder, self.redis, self._ledgers = folder, redis, ledgers

    def ledger(self, kind: str) -> str:
        """The address of a fresh ledger, `sqlite` or `postgresql`."""
        return self._ledgers.fresh(kind, CONFIG)

    def env(self, ledger: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of our processes on `ledger`; all other settings are the defaults."""
        ours = {"LEDGER_URL": ledger, "BROKER_URL": self.redis.url, "CELERY_CONFIG_MODULE": CONFIG}
        return {**os.environ, **ours, "PYTHONPATH": os.getcwd(), **(more or {})}

    def produce(self, ledger: str) -> None:
        """Make this process a producer of ours on `ledger`; its log goes into a file, as it would in production."""
        os.environ.update(self.env(ledger))
        from celadon import app, logs
        from celadon.ledger import db
        from celadon.settings import override

        override(ledger_url=ledger)
        db.reset()
        app.load()
        logs.configure()
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream((self.folder / "producer.log").open("a"))


@contextmanager
def ground(redis_options: Sequence[str] = ()) -> Iterator[Ground]:
    """Start the servers and stop them. Raises Missing where a server's program is not installed.

    redis_options: more words of its command line.
    """
    SETTINGS.update(DURABLE)
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as name:
        folder = Path(name)
        redis, postgres = RedisServer(folder, redis_options), PostgresServer()
        try:
            redis.start()
            postgres.start()
            print(f"one synced 4 KiB append takes {synced_write_ms(folder):.2f} ms here (median)")
            yield Ground(folder, redis, Ledgers(folder, lambda: postgres))
        finally:
            redis.thaw()
            redis.stop()
            postgres.remove()


def durability(engine: Engine) -> str:
    """What the database does before it says that a commit is done. Raises AssertionError unless it syncs to disk."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            ask, wanted = "PRAGMA", {"journal_mode": "wal", "synchronous": "2"}  # 2 is FULL.
        else:
            ask, wanted = "SHOW", DURABLE
        found = {name: str(connection.exec_driver_sql(f"{ask} {name}").scalar()) for name in wanted}
    assert found == wanted, f"not durable: {found}, wanted {wanted}"
    return ", ".join(f"{name}={value}" for name, value in found.items())


def synced_write_ms(folder: Path) -> float:
    """The median time of a 4 KiB append and fdatasync in `folder`: about what a commit has to wait for."""
    samples = []
    with (folder / "synced").open("ab", buffering=0) as file:
        for _ in range(50):
            began = perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            samples.append((perf_counter() - began) * 1000)
    return statistics.median(samples)


def on_each(measure: Callable[[str, Ground, Figures], None]) -> int:
    """Measure on the databases that the command line names, on both if it names none; the exit code."""
    figures = Figures()
    with ground() as here:
        for kind in sys.argv[1:] or ("sqlite", "postgresql"):
            measure(kind, here, figures)
    return figures.close()
