"""The Redis hash `order:{order_id}:flags`: a quick copy, for other programs, of flags whose truth is in SQL.

Policy, in this one place: the client's own short time-outs bound every call; a failure is logged once and
fails nobody, since the copy is mended when the order is next read, worked on, or looked at by `reconcile`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.model import FLAGS, Flag, Order
from services.orders.view import OrderView, iso

KEEP = timedelta(days=7)  # How long a hash stays after its last change; it can be rebuilt at any time.
BATCH = 500  # Orders per round trip when comparing; some 100 kB.

log = structlog.get_logger()


class Redis(Protocol):
    """What is used of a Redis client that decodes its answers."""

    def hgetall(self, name: str) -> Any: ...
    def pipeline(self, transaction: bool = True) -> Any: ...
    def transaction(self, func: Any, *watches: Any) -> Any: ...


Read = Callable[[], AbstractContextManager[Session]]


class Flags:
    """Writes the hash. At work flags only rise: who knows less never takes back what another has written."""

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

    def reconcile(self, read: Read, *, within: timedelta = KEEP) -> dict[str, int]:
        """Compare the hashes of all orders placed `within` the given time with SQL, and mend them; return counts.

        It alone takes back a flag that is up in Redis only, as it is after SQL was restored from a backup.

        Args:
            read: opens a session for reading that sees what was committed before.

        Returns:
            `checked`, and of them `missing` (there was no hash) and `wrong` (a flag or time is not as in SQL). An
            order that is just being worked on may be among them.

        Raises:
            Exception: the client's; a comparison that can't look must not say that all is well.
        """
        counts, after = dict.fromkeys(("checked", "missing", "wrong"), 0), 0
        since = datetime.now(UTC) - within
        while True:
            with read() as session:
                later = select(Order.number, Order.id).where(Order.created_at >= since, Order.number > after)
                orders = session.execute(later.order_by(Order.number).limit(BATCH)).all()
            if not orders:
                break
            self._compare([order.id for order in orders], read, counts)
            after = orders[-1].number
        if counts["missing"] or counts["wrong"]:
            log.info("order_flags_mended", **counts)
        return counts

    def _compare(self, order_ids: Sequence[str], read: Read, counts: dict[str, int]) -> None:
        # Redis first: what it has got by now was committed before, so SQL, asked afterwards, knows at least as much.
        hashes = self._hashes(order_ids)
        with read() as session:
            known = _known_by_id(order_ids, session)
        amiss = {order_id: flags for order_id, flags in known.items() if not _same(hashes[order_id], flags)}
        missing = sum(not hashes[order_id] for order_id in amiss)
        counts["checked"] += len(known)
        counts["missing"] += missing
        counts["wrong"] += len(amiss) - missing
        self._put(amiss)
        for order_id, flags in amiss.items():
            for flag in FLAGS:
                if flag not in flags and hashes[order_id].get(flag) == "1":
                    self._take_back(order_id, flag, hashes[order_id].get(f"{flag}_at"))

    def _hashes(self, order_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        pipe = self._redis.pipeline(transaction=False)
        for order_id in order_ids:
            pipe.hgetall(key(order_id))
        return dict(zip(order_ids, pipe.execute(), strict=True))

    def _take_back(self, order_id: str, flag: Flag, seen_at: str | None) -> None:
        """Put a flag down, unless it was raised anew since it was seen."""

        def change(pipe: Any) -> None:
            as_seen = pipe.hmget(key(order_id), flag, f"{flag}_at") == ["1", seen_at]
            pipe.multi()
            if as_seen:
                pipe.hset(key(order_id), flag, "0")
                pipe.hdel(key(order_id), f"{flag}_at")

        self._redis.transaction(change, key(order_id))  # Tries again when somebody writes in between.

    def _write(self, orders: Mapping[str, Mapping[Flag, str | None]]) -> None:
        try:
            self._put(orders)
        except Exception as error:
            log.warning("order_flags_not_written", orders=list(orders)[:3], error=str(error))

    def _put(self, orders: Mapping[str, Mapping[Flag, str | None]]) -> None:
        pipe = self._redis.pipeline()
        for order_id, raised in orders.items():
            for flag in FLAGS:
                if flag in raised:
                    pipe.hset(key(order_id), mapping={flag: "1", f"{flag}_at": raised[flag] or ""})
                else:
                    pipe.hsetnx(key(order_id), flag, "0")
            pipe.expire(key(order_id), KEEP)
        pipe.execute()


def key(order_id: str) -> str:
    return f"order:{order_id}:flags"


def _known(order: OrderView) -> dict[Flag, str | None]:
    return {flag: iso(at) for flag, at in order.raised.items()}


def _known_by_id(order_ids: Sequence[str], session: Session) -> dict[str, dict[Flag, str | None]]:
    """What SQL knows of the flags of those orders that exist."""
    columns = [getattr(Order, name) for flag in FLAGS for name in (flag, f"{flag}_at")]
    rows = session.execute(select(Order.id, *columns).where(Order.id.in_(order_ids))).mappings()
    return {row["id"]: {flag: iso(row[f"{flag}_at"]) for flag in FLAGS if row[flag]} for row in rows}


def _same(there: Mapping[str, str], known: Mapping[Flag, str | None]) -> bool:
    """Whether a hash says what SQL knows."""
    return all(
        (there.get(flag), there.get(f"{flag}_at")) == (("1", known[flag] or "") if flag in known else ("0", None))
        for flag in FLAGS
    )
