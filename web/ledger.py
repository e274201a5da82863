"""Whether the ledger answers, asked with a strict limit: a database that hangs must not hold every thread.

Policy: who asks is refused after LEDGER_TIMEOUT_S (0.8 s). Once it is known to be away, one thread at a time goes on
asking and all others are refused at once, so that a crowd of clients is answered as soon as a single one.

Not covered: a database that begins to hang when a request has been let through. Submitting jobs, waiting for one and
watching one have limits of their own; all else is bounded by the driver's time-outs alone, which may hold the
request's thread for some ten seconds.
"""

from __future__ import annotations

import threading

from sqlalchemy import text

from celadon.deadline import Abandoned, within
from celadon.errors import LedgerUnavailable
from celadon.ledger import session
from celadon.ledger.db import translated
from celadon.settings import settings

_away = False
_asking = threading.Lock()  # Held by the one that asks while the ledger is away.


def require() -> None:
    """Raises LedgerUnavailable when the ledger is away; about 0.3 ms when all is well."""
    alone = _away
    if alone and not _asking.acquire(blocking=False):
        raise _unavailable()
    try:
        _look()
    finally:
        if alone:
            _asking.release()


def answers() -> bool:
    try:
        require()
    except LedgerUnavailable:
        return False
    return True


def _look() -> None:
    global _away
    try:
        within(settings().ledger_timeout_s, _ask, job_id="")
    except LedgerUnavailable as error:
        _away = True
        raise _unavailable() from error
    _away = False


def _unavailable() -> LedgerUnavailable:
    return LedgerUnavailable("The ledger can't be reached")


def _ask(_: Abandoned) -> None:
    with translated(), session(read_only=True) as own:
        own.execute(text("SELECT 1 FROM jobs WHERE 1 = 0"))  # Also says whether it is migrated.
