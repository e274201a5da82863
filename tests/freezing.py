"""Stopping a process in its tracks, as a host does that was paused."""

from __future__ import annotations

import os
import signal

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from tests.eventually import eventually


def freeze(pid: int, ledger: Engine) -> None:
    """SIGSTOP to a process, at a moment when it does not have SQLite's one write lock in its hands.

    Else it would stop the ledger itself, for everybody, which is SQLite's own way and not what a test is about.
    """

    def stands_still() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if _takes_writes(ledger):
            return True
        os.kill(pid, signal.SIGCONT)  # For its commit to end.
        return False

    eventually("it stands still without the write lock", stands_still)


def _takes_writes(engine: Engine) -> bool:
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=500")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("ROLLBACK")
        except OperationalError:
            return False
    return True
