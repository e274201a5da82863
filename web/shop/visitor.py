"""What is kept of a visitor, in a signed cookie of their own browser: the basket, and the ids of their orders.

A browser drops a cookie of more than 4096 bytes, so both are bounded; no name and no address is ever in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from flask import session

from services.orders.place import MAX_LINES, MAX_QUANTITY

MAX_ORDERS = 20  # The latest ones; with a basket of 50 lines they leave a thousand bytes free.


def basket() -> dict[str, int]:
    """Quantities by SKU."""
    return dict(session.get("basket", {}))


def pieces() -> int:
    return sum(basket().values())


def add(sku: str) -> bool:
    """Put one more piece into the basket, at most 99 of a kind. False: it has 50 kinds already."""
    now = basket()
    if sku not in now and len(now) >= MAX_LINES:
        return False
    keep({**now, sku: min(now.get(sku, 0) + 1, MAX_QUANTITY)})
    return True


def keep(quantities: Mapping[str, int]) -> None:
    """Make this the basket: its first 50 kinds, without those of which nothing is wanted."""
    wanted = [(sku, quantity) for sku, quantity in quantities.items() if quantity > 0]
    session["basket"] = dict(wanted[:MAX_LINES])
    session.setdefault("number", uuid.uuid4().hex)


def number() -> str:
    """The basket's number, by which an order of it that comes twice is known; empty before there was a basket."""
    return str(session.get("number", ""))


def orders() -> list[str]:
    """Ids of this browser's orders, the newest first."""
    return list(session.get("orders", []))


def ordered(order_id: str, skus: Iterable[str]) -> None:
    """Note an order, and take what it ordered out of the basket, which from now on has another number."""
    session["orders"] = [order_id, *(each for each in orders() if each != order_id)][:MAX_ORDERS]
    session.pop("number", None)
    gone = set(skus)
    keep({sku: quantity for sku, quantity in basket().items() if sku not in gone})
