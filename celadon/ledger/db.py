"""The ledger's database: one engine per process, its clock, its sessions.

SQLite is the embedded default (one host), PostgreSQL is what production runs. All times are the database's own:
`at(seconds)` is an SQL expression for its clock plus an offset, so that no two hosts' clocks are ever compared.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Engine, event, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from celadon.errors import LedgerUnavailable
from celadon.ledger.engines import make_engine
from celadon.settings import settings


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, sortable text with milliseconds on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        if dialect.name == "sqlite":
            from sqlalchemy import String

            return dialect.type_descriptor(String(23))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; give an aware datetime, for example datetime.now(UTC)")
        value = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d}"
        return value

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        result: datetime = value.astimezone(UTC)
        return result


class at(FunctionElement[datetime]):
    """The database's clock plus `seconds`, taken when the statement runs, not when its transaction began."""

    type = Instant()
    inherit_cache = True
    name = "at"

    def __init__(self, seconds: Any = 0) -> None:
        super().__init__(seconds)


@compiles(at, "postgresql")
def _at_postgresql(element: at, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(at, "sqlite")
def _at_sqlite(element: at, compiler: Any, **kw: Any) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({compiler.process(element.clauses, **kw)}) || ' seconds')"


def by(seconds: Any = 0) -> Any:
    """`at(seconds)`, read once for the whole statement: for a comparison that an index is to answer.

    PostgreSQL asks a running clock anew for every row. No index helps then, and a look for what is due would read every
    job that is not.
    """
    return select(at(seconds)).scalar_subquery()


_lock = threading.Lock()
_engine: Engine | None = None
# Engines inherited over a fork. Their sockets belong to the parent: they are neither used nor closed here, only kept
# from the garbage collector. (Of SQLite none is open then; see forks.py.)
_inherited: list[Engine] = []


def _after_fork() -> None:
    global _lock, _engine, _reserve, _this
    _lock, _this = threading.Lock(), threading.local()
    _inherited.extend(one for one in (_engine, _reserve) if one is not None)
    _engine = _reserve = None


os.register_at_fork(after_in_child=_after_fork)


_this = threading.local()
_reserve: Engine | None = None


def use_reserve() -> None:
    """Let this thread use connections of its own: what keeps claims alive must not queue behind the jobs."""
    _this.reserve = True


def engine() -> Engine:
    """The process's engine, made at the first call and again after a fork."""
    global _engine, _reserve
    if getattr(_this, "reserve", False):
        with _lock:
            if _reserve is None:
                _reserve = make_engine(settings().ledger_url)
            return _reserve
    if _engine is None:
        with _lock:
            if _engine is None:
                _engine = make_engine(settings().ledger_url)
    return _engine


def reset() -> None:
    """Close this process's connections; the next use opens new ones (tests, and a change of LEDGER_URL)."""
    global _engine, _reserve
    with _lock:
        for one in (_engine, _reserve):
            if one is not None:
                one.dispose()
        _engine = _reserve = None


def end_idle_transactions(after_s: float) -> None:
    """Let PostgreSQL end a transaction of this process that has said nothing for so long, and free what it locked.

    Its process is frozen then, or its host has vanished. For processes in whose transactions no work of others is done.
    """

    def set_it(dbapi_connection: Any, _: Any) -> None:
        dbapi_connection.execute(f"SET idle_in_transaction_session_timeout = {round(after_s * 1000)}")
        dbapi_connection.commit()

    if engine().dialect.name == "postgresql":
        event.listen(engine(), "connect", set_it)


@contextmanager
def begin() -> Iterator[Connection]:
    """A write transaction that commits at the end. Raises LedgerUnavailable when the database is away."""
    with translated(), engine().begin() as connection:
        yield connection


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection that only reads. Raises LedgerUnavailable when the database is away.

    On PostgreSQL each statement stands alone. A transaction around it would show it nothing else (READ COMMITTED), and
    would cost two round trips more.
    """
    with translated(), engine().connect() as connection:
        options = {"isolation_level": "AUTOCOMMIT"} if connection.dialect.name == "postgresql" else {}
        yield connection.execution_options(read_only=True, **options)


@contextmanager
def looking() -> Iterator[Connection]:
    """A connection for a look at much of the ledger, all as of the moment of its first statement.

    On PostgreSQL it goes by indexes: a large share of a table would seem cheaper to read in order, which it is not for
    the jobs beside it. Raises LedgerUnavailable when the database is away.
    """
    with translated(), engine().connect() as connection:
        on_postgresql = connection.dialect.name == "postgresql"
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if on_postgresql else {}
        connection = connection.execution_options(read_only=True, **options)
        if on_postgresql:
            connection.execute(_BY_INDEX)
        yield connection


_BY_INDEX = select(*(func.set_config(f"enable_{kind}", "off", True) for kind in ("seqscan", "bitmapscan")))


def session(*, read_only: bool = False) -> Session:
    """A new SQLAlchemy session on the ledger's database, for a caller who stores rows and submits in one commit.

    read_only: takes no write lock on SQLite; nothing may be written through it.
    """
    if read_only:
        return Session(engine().execution_options(read_only=True))
    return Session(engine())


def is_ledger(bind: Any) -> bool:
    """Whether a session's or connection's database is the ledger's."""
    bound: Engine = getattr(bind, "engine", bind)
    return bound.url == engine().url


@contextmanager
def translated() -> Iterator[None]:
    """Turn "the database is away" into LedgerUnavailable; let every other error through as it is."""
    try:
        yield
    except PoolTimeout as error:
        raise LedgerUnavailable(f"All connections to the ledger are in use: {error}") from error
    except DBAPIError as error:
        if is_away(error):
            raise LedgerUnavailable(f"The ledger's database can't be reached: {error.orig}") from error
        if is_unmigrated(error):
            raise LedgerUnavailable(f"The ledger is not up to date; run `celadon migrate` ({error.orig})") from error
        raise


def is_away(error: DBAPIError) -> bool:
    """Whether the error says that the database is gone, starting, stopping, full, read-only or locked for too long."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.OperationalError):
        text = str(error.orig)
        return any(word in text for word in ("locked", "unable to open", "disk I/O", "disk is full", "readonly"))
    state = getattr(error.orig, "sqlstate", None)
    name = type(error.orig).__name__
    if state is None:
        return name in ("OperationalError", "ConnectionTimeout")
    # Classes 08 connection, 53 resources, 57P operator intervention; 25006 read only.
    return str(state).startswith(("08", "53", "57P")) or state == "25006"


def is_unmigrated(error: DBAPIError) -> bool:
    """Whether a statement of the platform's own met a table or column that is not there yet."""
    missing = ("no such table", "has no column", "no such column")
    if isinstance(error.orig, sqlite3.Error):
        return any(words in str(error.orig) for words in missing)
    return getattr(error.orig, "sqlstate", None) in ("42P01", "42703")


_NOW = select(at())


def clock(connection: Connection) -> datetime:
    """The database's time now."""
    now: datetime = connection.execute(_NOW).scalar_one()
    return now
