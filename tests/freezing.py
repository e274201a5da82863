"""Stopping a process in its tracks, as a host does that was paused."""

from __future__ import annotations

import os
import signal
import time

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError


def freeze(pid: int, ledger: Engine) -> None:
    """SIGSTOP to a process, at a moment when it does not have SQLite's one write lock in its hands.

    Else it would stop the ledger itself, for everybody, which is SQLite's own way and not what a test is about.
    """
    os.kill(pid, signal.SIGSTOP)
    while not _takes_writes(ledger):
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.03)  # For its commit to end. There is no event of that to wait for.
        os.kill(pid, signal.SIGSTOP)


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
