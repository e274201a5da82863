"""Fresh, migrated databases for tests: migrate once per kind and configuration, then copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from tests.forked import run
from tests.servers import PostgresServer
from tests.servers.process import celadon

KINDS = ("sqlite", "postgresql")
UNLIMITED = {"ORDERS_STARTS": "0", "ORDERS_PER_WORKER": "0"}  # Tests of the shop place many orders in no time.


class Ledgers:
    """Makes ledgers.

    Args:
        folder: where SQLite files go.
        postgres: called at the first PostgreSQL ledger; starts the server or skips the test.
        env: what the jobs of the configuration need beside this process's own environment.
    """

    def __init__(
        self, folder: Path, postgres: Callable[[], PostgresServer], env: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._env = env
        self._postgres = postgres
        self._templates: set[tuple[str, str]] = set()
        self._numbers = count(1)

    def fresh(self, kind: str, config: str = "celeryconfig") -> str:
        """The address of a new ledger with the platform's tables and those that `config` names in `migrations`.

        Args:
            kind: `sqlite` or `postgresql`.
            config: the module that stands for the operator's `celeryconfig.py`.
        """
        template = "template_" + config.replace(".", "_")
        name = f"ledger_{os.getpid()}_{next(self._numbers)}"
        if kind == "sqlite":
            origin = self._folder / f"{template}.db"
            if self._first(kind, config):
                migrate(f"sqlite:///{origin}", config, self._env)
                # The log of a closed WAL database is empty; saying so once makes the file whole by itself.
                with sqlite3.connect(origin) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.close()
            shutil.copy(origin, self._folder / f"{name}.db")
            return f"sqlite:///{self._folder / name}.db"
        server = self._postgres()
        if self._first(kind, config):
            migrate(server.create_database(template), config, self._env)
        return server.create_database(name, template)

    def _first(self, kind: str, config: str) -> bool:
        first = (kind, config) not in self._templates
        self._templates.add((kind, config))
        return first


def migrate(url: str, config: str, env: Mapping[str, str] | None = None) -> None:
    """Run `celadon migrate` on the database at `url`; its output is the message when it fails."""
    told = {**os.environ, **UNLIMITED, **(env or {}), "LEDGER_URL": url, "CELERY_CONFIG_MODULE": config}
    done = run(celadon("migrate"), env=told, cwd=Path.cwd(), timeout=60)
    assert done.returncode == 0, f"celadon migrate failed:\n{done.stdout}{done.stderr}"
