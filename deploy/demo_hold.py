"""Holds orders in their inventory step, so that the demo can kill a worker at the worst of moments.

Only the demo's default worker imports this (see `demo_config.py`). While the file `hold` is there, an order
whose inventory step has begun waits before the step's transaction. When the demo makes the file `strike`, one
of them goes on, takes its products from stock, says so in the file `taken`, and does not commit: that is when
its worker is killed.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.orm import Session

from celadon.jobs import Claim
from celadon.ledger import marks
from deploy.demo_signals import HOLD, STRIKE, STRUCK, TAKEN
from services.orders import stock

_lock, _take = marks.lock, stock.take


def _held_lock(session: Session, claim: Claim, name: str) -> Any:
    while name == "inventory" and HOLD.exists() and not _chosen():
        time.sleep(0.02)
    return _lock(session, claim, name)


def _chosen() -> bool:
    """Whether this thread is the one to strike: a rename succeeds once."""
    try:
        STRIKE.rename(STRUCK)
    except FileNotFoundError:
        return False
    return True


def _held_take(session: Session, order_id: str) -> dict[str, str | None]:
    taken = _take(session, order_id)
    if STRUCK.exists() and HOLD.exists():
        session.flush()
        TAKEN.write_text(order_id)
        while HOLD.exists():
            time.sleep(0.02)
    return taken


marks.lock, stock.take = _held_lock, _held_take
