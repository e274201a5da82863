"""A store in an SQLite file, for replicas on one host. Nothing to install."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

from celadon_feature.stores import KEEP_S, NotShared, Run, Standing, StoreUnavailable, begin

BUSY_S = 5.0  # How long a statement waits for another process's.
_OLDEST = (3, 35)  # The first SQLite that knows RETURNING.

_SCHEMA = """
CREATE TABLE IF NOT EXISTS celadon_feature_runs (
    job_id TEXT PRIMARY KEY,
    attempts_made INTEGER NOT NULL,
    state TEXT NOT NULL,
    token TEXT NOT NULL,
    expires_at REAL NOT NULL,
    answer TEXT NOT NULL,
    forget_at REAL NOT NULL
)"""
_INDEX = "CREATE INDEX IF NOT EXISTS celadon_feature_runs_forget_at ON celadon_feature_runs (forget_at)"
_TAKE = """
INSERT INTO celadon_feature_runs AS row (job_id, attempts_made, state, token, expires_at, answer, forget_at)
VALUES (:job_id, :attempts_made, 'running', :token, :now + :expires_s, '', :now + :keep_s)
ON CONFLICT (job_id) DO UPDATE SET
    attempts_made = excluded.attempts_made, state = 'running', token = excluded.token,
    expires_at = excluded.expires_at, answer = '', forget_at = excluded.forget_at
WHERE row.state = 'running' AND (row.expires_at <= :now OR row.token = excluded.token)
   OR row.state = 'failed' AND row.attempts_made < excluded.attempts_made
RETURNING 1"""
_MINE = "WHERE job_id = :job_id AND token = :token AND state = 'running' RETURNING 1"
_RENEW = f"UPDATE celadon_feature_runs SET expires_at = :now + :expires_s, forget_at = :now + :keep_s {_MINE}"
# Without its token, so that a renewal that is under way finds nothing to renew.
_ABANDON = f"UPDATE celadon_feature_runs SET expires_at = 0, token = '' {_MINE}"
_FINISH = f"UPDATE celadon_feature_runs SET state = :state, answer = :answer, forget_at = :now + :keep_s {_MINE}"
_LOOK = """
SELECT CASE WHEN state = 'running' AND expires_at <= :now THEN 'interrupted' ELSE state END, attempts_made, answer
FROM celadon_feature_runs WHERE job_id = :job_id"""
_FORGET = "DELETE FROM celadon_feature_runs WHERE forget_at < :now"


class SqliteStore:
    """Keeps runs in one SQLite file. ALL REPLICAS MUST USE THIS FILE, so they must all be on one host.

    A file on a network file system is none: its locks can't be relied on. For more hosts take `SqlStore` or
    `RedisStore`.

    path: of the file; its folder must exist. `":memory:"` is for tests, and warns (NotShared). keep_s: how many seconds
    an answer is known; longer than a job of yours may be retried or replayed.
    """

    def __init__(self, path: str | Path, *, keep_s: float = KEEP_S) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise RuntimeError(f"SQLite {sqlite3.sqlite_version} is too old; {'.'.join(map(str, _OLDEST))} is needed")
        self.path, self._keep_s = str(path), keep_s
        self._in_memory = self.path in ("", ":memory:")
        if self._in_memory:
            warn_of_memory(self.path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        _stores.add(self)

    def begin(self, run: Run, expires_s: float) -> Standing | None:
        return begin(run, lambda: bool(self._execute(_TAKE, **_facts(run), expires_s=expires_s)), self.look)

    def renew(self, run: Run, expires_s: float) -> bool:
        return bool(self._execute(_RENEW, **_facts(run), expires_s=expires_s))

    def finish(self, run: Run, *, success: bool, answer: str) -> bool:
        state = "succeeded" if success else "failed"
        return bool(self._execute(_FINISH, **_facts(run), state=state, answer=answer))

    def abandon(self, run: Run) -> None:
        self._execute(_ABANDON, **_facts(run))

    def look(self, job_id: str) -> Standing:
        for state, attempts_made, answer in self._execute(_LOOK, job_id=job_id):
            return Standing(state=state, attempts_made=attempts_made, answer=answer)
        return Standing(state="unknown")

    def forget(self) -> None:
        self._execute(_FORGET)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            self._close()

    def _execute(self, statement: str, **values: Any) -> list[Any]:
        """Each statement is a transaction of its own, and its rows are all read, for that is what commits it."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._opened()
                values |= {"now": time.time(), "keep_s": self._keep_s}
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self.path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        # What has been answered outlives a power cut: synchronous=FULL.
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _SCHEMA, _INDEX):
                    connection.execute(statement)
                return connection
            except sqlite3.OperationalError:
                # Whoever switches to WAL does not wait for another that does, whatever the time-out says.
                if time.monotonic() > deadline:
                    connection.close()
                    raise
                time.sleep(0.01)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def warn_of_memory(path: str, stacklevel: int = 3) -> None:
    """Say loudly that this is a store for tests."""
    warnings.warn(
        f"The store {path!r} is in this process's memory: no other replica, and not this one after a restart, knows "
        "which jobs are done, and does them again. Give it a file, or a store that all replicas share",
        NotShared,
        stacklevel=stacklevel,
    )


def _facts(run: Run) -> dict[str, Any]:
    return {"job_id": run.job_id, "attempts_made": run.attempts_made, "token": run.token}


# SQLite remembers per process which locks it holds. A child that was forked in the midst of a statement inherits that
# memory and not the locks, so a fork waits for statements to end and takes no open file along. One fork at a time, for
# `_held` is what this one holds.
_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_forking = threading.Lock()
_held: list[SqliteStore] = []


def _before_fork() -> None:
    _forking.acquire()
    _held[:] = list(_stores)
    for store in _held:
        store._lock.acquire()
        if not store._in_memory:
            store._close()


def _after_fork() -> None:
    for store in _held:
        store._lock.release()
    _held.clear()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
