"""An engine for the ledger's address, with the durability the ledger needs and what both databases need to be told."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from celadon.errors import CeladonError
from celadon.ledger import forks
from celadon.settings import settings

BUSY_S = 10.0  # How long SQLite waits for somebody else's lock.
# Its own waiting is to sleep, for up to 100 ms at a time, and then to find that another was quicker. So of a process
# one writer at a time waits for the lock, and looks every few milliseconds.
LOOK_MS = 3
_writers = threading.Lock()


def make_engine(url: str) -> Engine:
    """An engine for `url` with the durability this ledger needs. Raises CeladonError for another database."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise CeladonError(
            f"LEDGER_URL is no database URL ({error}); write sqlite:///celadon.db or postgresql://…"
        ) from error
    limits = settings()
    options: dict[str, Any] = {
        "pool_size": limits.ledger_pool,
        "max_overflow": limits.ledger_pool,
        # An error's text goes into logs, mails and to Sentry: payloads may not go with it.
        "hide_parameters": True,
    }
    if parsed.get_backend_name() == "sqlite":
        if sqlite3.sqlite_version_info < (3, 35):
            raise CeladonError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed (RETURNING)")
        if parsed.database in (None, "", ":memory:"):
            raise CeladonError(f"LEDGER_URL={url} is not durable and not shared; name a file: sqlite:///celadon.db")
        made = create_engine(parsed, **options, pool_timeout=30, connect_args={"timeout": BUSY_S})
        event.listen(made, "connect", _sqlite_connect)
        event.listen(made, "begin", _sqlite_begin)
        forks.guard(made)
        return made
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            parsed.get_dialect().import_dbapi()
        except ModuleNotFoundError as error:
            raise CeladonError(
                f"LEDGER_URL names PostgreSQL, but its driver is missing ({error}); pip install 'celadon[postgresql]'"
            ) from error
        made = create_engine(
            parsed,
            **options,
            pool_timeout=5,
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": 2,
                "application_name": "celadon",
                # A peer that vanished without a word is noticed in seconds, not in the two hours of TCP's default.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
            },
        )
        event.listen(made, "connect", _postgresql_connect)
        return made
    raise CeladonError(f"LEDGER_URL names {parsed.get_backend_name()!r}; the ledger runs on sqlite or postgresql")


def _postgresql_connect(dbapi_connection: Any, record: Any) -> None:
    # Compiling a statement to machine code takes PostgreSQL half a second, and it does that to any that it believes to
    # be long: without statistics it believes much. Ours take milliseconds. (Not as an option of the connection's start:
    # PgBouncer refuses those.)
    dbapi_connection.execute("SET jit = off")
    dbapi_connection.commit()


def _sqlite_connect(dbapi_connection: Any, record: Any) -> None:
    # The driver must not begin transactions on its own; `_sqlite_begin` does.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_S * 1000:.0f}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
    except BaseException:
        forks.let_go(record)
        raise
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail instead of waiting, so writers lock at once.
    if connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("BEGIN")
        return
    until = time.monotonic() + BUSY_S
    driver: Any = connection.connection.dbapi_connection
    locked = not _writers.acquire(timeout=BUSY_S)
    try:
        driver.execute(f"PRAGMA busy_timeout={LOOK_MS}")
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.Error as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until:
                    raise OperationalError("BEGIN IMMEDIATE", None, error) from error
    finally:
        if not locked:
            _writers.release()
        driver.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")


def _after_fork() -> None:
    global _writers
    _writers = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
