"""A store in a SQL database (extra `sqlalchemy`): PostgreSQL, for replicas on any number of hosts, or SQLite."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    Engine,
    Executable,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    case,
    cast,
    create_engine,
    delete,
    func,
    inspect,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from celadon_feature.stores import KEEP_S, Run, Standing, StoreUnavailable, begin
from celadon_feature.stores.sqlite import warn_of_memory

metadata = MetaData()
# For a migration of your own: give this table to your tool, and `create=False` to the store.
runs = Table(
    "celadon_feature_runs",
    metadata,
    Column("job_id", String(128), primary_key=True),
    Column("attempts_made", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("token", String(64), nullable=False),
    Column("expires_at", Double, nullable=False),  # Seconds since 1970.
    Column("answer", Text, nullable=False),
    Column("forget_at", Double, nullable=False, index=True),
)
_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class SqlStore:
    """Keeps runs in a table. ALL REPLICAS MUST USE THE SAME DATABASE.

    engine: an Engine of yours (it must not be used across a fork), or a URL, for which one is made; give it the
    driver's time-outs, as in `postgresql+psycopg://…/mail?connect_timeout=5`. create: make the table if it is not
    there. keep_s: how many seconds an answer is known; longer than a job of yours may be retried or replayed. An SQLite
    database in memory warns (NotShared).

    Each statement is a transaction of its own; nothing joins the handler's.
    """

    def __init__(self, engine: Engine | str, *, create: bool = True, keep_s: float = KEEP_S) -> None:
        own = create_engine(engine, pool_pre_ping=True) if isinstance(engine, str) else engine
        if own.dialect.name not in _INSERTS:
            raise ValueError(f"{own.dialect.name} is not supported; {' and '.join(_INSERTS)} are")
        if own.dialect.name == "sqlite" and ":memory:" in (own.url.database or ":memory:"):
            warn_of_memory(str(own.url))
        self._engine = own.execution_options(isolation_level="AUTOCOMMIT")
        self._made_here = isinstance(engine, str)
        self._insert = _INSERTS[own.dialect.name]
        self._wants_table, self._keep_s = create, keep_s
        self._creating, self._pid = threading.Lock(), os.getpid()

    def begin(self, run: Run, expires_s: float) -> Standing | None:
        return begin(run, lambda: self._take(run, expires_s), self.look)

    def renew(self, run: Run, expires_s: float) -> bool:
        now = self._now()
        return bool(self._rows(_change(run, expires_at=now + expires_s, forget_at=now + self._keep_s)))

    def finish(self, run: Run, *, success: bool, answer: str) -> bool:
        state = "succeeded" if success else "failed"
        return bool(self._rows(_change(run, state=state, answer=answer, forget_at=self._now() + self._keep_s)))

    def abandon(self, run: Run) -> None:
        # Without its token, so that a renewal that is under way finds nothing to renew.
        self._rows(_change(run, expires_at=0.0, token=""))

    def look(self, job_id: str) -> Standing:
        expired = and_(runs.c.state == "running", runs.c.expires_at <= self._now())
        state = case((expired, "interrupted"), else_=runs.c.state).label("standing")
        for row in self._rows(select(state, runs.c.attempts_made, runs.c.answer).where(runs.c.job_id == job_id)):
            return Standing(state=row.standing, attempts_made=row.attempts_made, answer=row.answer)
        return Standing(state="unknown")

    def forget(self) -> None:
        self._rows(delete(runs).where(runs.c.forget_at < self._now()).returning(runs.c.job_id))

    def _take(self, run: Run, expires_s: float) -> bool:
        now = self._now()
        facts = {"job_id": run.job_id, "attempts_made": run.attempts_made, "state": "running", "token": run.token}
        facts |= {"expires_at": now + expires_s, "answer": "", "forget_at": now + self._keep_s}
        insert = self._insert(runs).values(**facts)
        free = or_(
            and_(runs.c.state == "running", or_(runs.c.expires_at <= now, runs.c.token == insert.excluded.token)),
            and_(runs.c.state == "failed", runs.c.attempts_made < insert.excluded.attempts_made),
        )
        anew = {name: insert.excluded[name] for name in facts if name != "job_id"}
        taken = insert.on_conflict_do_update(index_elements=["job_id"], set_=anew, where=free)
        return bool(self._rows(taken.returning(runs.c.job_id)))

    def _now(self) -> ColumnElement[float]:
        """By the database's clock, where it is another host's."""
        if self._engine.dialect.name == "postgresql":
            return cast(func.extract("epoch", func.clock_timestamp()), Double)
        return literal(time.time(), Double)

    def _rows(self, statement: Executable) -> Sequence[Row[Any]]:
        try:
            self._prepare()
            with self._engine.connect() as connection:
                return connection.execute(statement).all()
        except SQLAlchemyError as error:
            # Not the whole of it: that would tell the statement's values, and so a job's result, to the log.
            what = getattr(error, "orig", None) or error
            raise StoreUnavailable(f"{self._engine.url.render_as_string(hide_password=True)}: {what}") from None

    def _prepare(self) -> None:
        """At the first statement, not before: a server may fork between."""
        if self._made_here and self._pid != os.getpid():
            self._engine.dispose(close=False)  # Connections that the parent opened are the parent's.
            self._pid = os.getpid()
        if self._wants_table:
            with self._creating:
                if self._wants_table:
                    self._create()
                    self._wants_table = False

    def _create(self) -> None:
        try:
            metadata.create_all(self._engine)
        except SQLAlchemyError:
            # Another replica may have made it at the same moment.
            if not inspect(self._engine).has_table(runs.name):
                raise


def _change(run: Run, **values: Any) -> Any:
    """A change of a run that is still this one."""
    mine = and_(runs.c.job_id == run.job_id, runs.c.token == run.token, runs.c.state == "running")
    return update(runs).where(mine).values(**values).returning(runs.c.job_id)
