"""Transactions of commands: none waits long for a row that somebody else holds, and none keeps one for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from celadon.errors import LedgerUnavailable
from celadon.ledger.db import begin

# A command waits so long for a row that another transaction holds. Others take milliseconds: who holds a row for longer
# is frozen.
PATIENCE_S = 2.0
STANDS_STILL_S = 5.0  # A command that PostgreSQL has not heard of for so long is not going on. Its locks are freed.


@contextmanager
def command(what: str, *, patience_s: float | None = None) -> Iterator[Connection]:
    """A write transaction that neither waits long for a row nor, when its process is frozen or gone, keeps one.

    what: is changed, for the error. patience_s: None: PATIENCE_S. Raises LedgerUnavailable, also for a row that is held
    for longer.
    """
    try:
        with begin() as connection:
            if connection.dialect.name == "postgresql":
                bounds = (
                    ("lock_timeout", patience_s or PATIENCE_S),
                    ("idle_in_transaction_session_timeout", STANDS_STILL_S),
                )
                connection.execute(select(*(func.set_config(name, f"{s * 1000:.0f}", True) for name, s in bounds)))
            yield connection
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        raise LedgerUnavailable(f"Somebody else holds {what} in a transaction; try again in a moment") from error
