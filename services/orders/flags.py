"""The Redis hash `order:{order_id}:flags`: a quick copy, for other programs, of flags whose truth is in SQL.

Policy, in this one place: the client's own short time-outs bound every call; a failure is logged once and
fails nobody, since the copy is mended when the order is next read, worked on, or found by `rebuild`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.model import FLAGS, Flag, Order
from services.orders.view import OrderView, iso, view_of

KEEP = timedelta(days=7)  # How long a hash stays after its last change; it can be rebuilt at any time.
BATCH = 500  # Orders per round trip when rebuilding; some 100 kB.

log = structlog.get_logger()


class Redis(Protocol):
    """What is used of a Redis client that decodes its answers."""

    def hgetall(self, name: str) -> Any: ...
    def pipeline(self) -> Any: ...


class Flags:
    """Writes the hash. Flags only rise: a writer who knows less never takes back what another has written."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def raised(self, order_id: str, raised: Mapping[Flag, str | None]) -> None:
        """Write flags that are up, with their times, after their commit. Those not named stay as they are."""
        self._write({order_id: raised})

    def mend(self, order: OrderView) -> None:
        """Write what SQL knows of this order if the hash lacks any of it."""
        try:
            there = self._redis.hgetall(key(order.id))
        except Exception as error:
            log.warning("order_flags_not_read", orders=[order.id], error=str(error))
            return
        if any(flag not in there or (flag in order.raised and there[flag] != "1") for flag in FLAGS):
            self.raised(order.id, _known(order))

    def rebuild(self, session: Session, *, within: timedelta = KEEP) -> int:
        """Write the hashes of all orders placed `within` the given time; return their number."""
        count, last = 0, 0
        since = Order.created_at >= datetime.now(UTC) - within
        while True:
            orders = session.scalars(
                select(Order).where(since, Order.number > last).order_by(Order.number).limit(BATCH)
            ).all()
            if not orders:
                return count
            self._write({order.id: _known(view_of(order, session)) for order in orders})
            count, last = count + len(orders), orders[-1].number
            session.expunge_all()

    def _write(self, orders: Mapping[str, Mapping[Flag, str | None]]) -> None:
        try:
            pipe = self._redis.pipeline()
            for order_id, raised in orders.items():
                for flag in FLAGS:
                    if flag in raised:
                        pipe.hset(key(order_id), mapping={flag: "1", f"{flag}_at": raised[flag] or ""})
                    else:
                        pipe.hsetnx(key(order_id), flag, "0")
                pipe.expire(key(order_id), KEEP)
            pipe.execute()
        except Exception as error:
            log.warning("order_flags_not_written", orders=list(orders)[:3], error=str(error))


def key(order_id: str) -> str:
    return f"order:{order_id}:flags"


def _known(order: OrderView) -> dict[Flag, str | None]:
    return {flag: iso(at) for flag, at in order.raised.items()}
