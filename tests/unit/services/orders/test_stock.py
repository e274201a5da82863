from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session, sessionmaker

from services.orders.errors import OutOfStock
from services.orders.model import Product, get_order
from services.orders.stock import take
from tests.unit.services.conftest import Place

Begin = sessionmaker[Session]


def left(begin: Begin, sku: str) -> int:
    with begin() as session:
        return session.get_one(Product, sku).stock


def test_taking_lowers_the_stock_and_raises_the_flag(begin: Begin, placed: Place) -> None:
    order = placed(BOWL_TEA=2, POT_TEA=1)

    with begin.begin() as session:
        result = take(session, order.id)

    assert (left(begin, "BOWL-TEA"), left(begin, "POT-TEA")) == (238, 59)
    with begin() as session:
        served = get_order(session, order.id)
    assert served.inventory_processed
    assert result["at"] is not None


def test_an_order_takes_its_stock_once(begin: Begin, placed: Place) -> None:
    order = placed(BOWL_TEA=2)

    for _ in range(2):
        with begin.begin() as session:
            take(session, order.id)

    assert left(begin, "BOWL-TEA") == 238


def test_short_stock_says_what_is_short_and_takes_nothing(begin: Begin, placed: Place) -> None:
    # Given three moon jars on the shelf
    order = placed(BOWL_TEA=2, JAR_MOON=4)
    # When four are wanted
    short = pytest.raises(OutOfStock, match="JAR-MOON is short: 4 wanted, 3 left")
    with short as caught, begin.begin() as session:
        take(session, order.id)
    # Then the bowls of the same order stay too
    assert (caught.value.sku, caught.value.wanted, caught.value.left) == ("JAR-MOON", 4, 3)
    assert (left(begin, "BOWL-TEA"), left(begin, "JAR-MOON")) == (240, 3)


def test_many_at_once_never_take_more_than_there_is(begin: Begin, placed: Place) -> None:
    # Given eight orders for a jar of which there are three, each with another product locked before and after
    orders = [placed(BOWL_TEA=1, JAR_MOON=1, POT_TEA=1) for _ in range(8)]

    def serve(order_id: str) -> bool:
        try:
            with begin.begin() as session:
                take(session, order_id)
        except OutOfStock:
            return False
        return True

    # When all are served at once
    with ThreadPoolExecutor(8) as pool:
        served = list(pool.map(serve, [order.id for order in orders]))
    # Then three got one, and what the others had begun to take is back
    assert sum(served) == 3
    assert [left(begin, sku) for sku in ("BOWL-TEA", "JAR-MOON", "POT-TEA")] == [237, 0, 57]
