from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from services.orders.errors import InvalidOrder, RequestReused
from services.orders.model import Order, Product
from services.orders.place import Line, place
from services.orders.view import load

Begin = sessionmaker[Session]
GOOD: dict[str, Any] = {"name": "Mina Ito", "email": "mina@example.com", "lines": [Line("BOWL-TEA", 2)]}


def problems_of(session: Session, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidOrder) as caught:
        place(session, **{**GOOD, **changes})
    return {each.field: each.message for each in caught.value.problems}


def test_an_order_keeps_names_and_prices_as_they_were(begin: Begin) -> None:
    # Given an order
    with begin.begin() as session:
        order, new = place(session, name=" Mina  Ito ", email="mina@example.com", lines=GOOD["lines"])
    # When the catalogue changes
    with begin.begin() as session:
        session.get_one(Product, "BOWL-TEA").price_cents = 9900
    # Then the order does not
    with begin() as session:
        view = load(session, order.id)
    assert new
    assert (view.customer_name, view.total_cents, view.tax_cents) == ("Mina Ito", 4800, 800)
    assert [(x.name, x.quantity, x.unit_price_cents) for x in view.lines] == [("Tea bowl", 2, 2400)]
    assert view.status == "processing"


def test_a_product_named_twice_is_one_line_with_the_sum(begin: Begin) -> None:
    with begin.begin() as session:
        order, _ = place(session, **{**GOOD, "lines": [Line("BOWL-TEA", 2), Line("BOWL-TEA", 3)]})

    assert [(x.sku, x.quantity) for x in order.lines] == [("BOWL-TEA", 5)]


def test_orders_are_numbered_one_by_one(begin: Begin) -> None:
    with begin.begin() as session:
        numbers = [place(session, **GOOD)[0].number for _ in range(3)]

    assert numbers == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "customer.name"),
        ({"name": "x" * 121}, "customer.name"),
        ({"name": "Mina\x00"}, "customer.name"),
        ({"name": "Mina\udc80"}, "customer.name"),
        ({"email": ""}, "customer.email"),
        ({"email": "mina"}, "customer.email"),
        ({"email": "mina@localhost"}, "customer.email"),
        ({"email": "mina@example.com\r\nBcc: all@example.com"}, "customer.email"),
        ({"email": "mina@example.com, all@example.com"}, "customer.email"),
        ({"email": f"{'m' * 60}@{'example.' * 30}com"}, "customer.email"),
        ({"lines": []}, "lines"),
        ({"lines": [Line("BOWL-TEA", 1)] * 51}, "lines"),
        ({"lines": [Line("BOWL-TEA", 1), Line("POT-TEA", 0)]}, "lines.1.quantity"),
        ({"lines": [Line("BOWL-TEA", -1)]}, "lines.0.quantity"),
        ({"lines": [Line("BOWL-TEA", 100)]}, "lines.0.quantity"),
        ({"lines": [Line("BOWL-TEA", 1), Line("CUP\x00", 1)]}, "lines.1.sku"),
        ({"lines": [Line("SPOON", 1)]}, "lines.0.sku"),
    ],
)
def test_a_field_to_mend_is_named(begin: Begin, changes: dict[str, object], field: str) -> None:
    with begin() as session:
        assert list(problems_of(session, **changes)) == [field]


def test_many_small_lines_of_one_product_do_not_pass_its_limit(begin: Begin) -> None:
    with begin() as session:
        assert problems_of(session, lines=[Line("BOWL-TEA", 60), Line("BOWL-TEA", 60)])


def test_all_problems_are_told_at_once_and_nothing_is_written(begin: Begin) -> None:
    with begin.begin() as session:
        problems = problems_of(session, name="", email="x", lines=[Line("SPOON", 0)])

        assert set(problems) == {"customer.name", "customer.email", "lines.0.quantity", "lines.0.sku"}
        assert session.scalar(select(func.count()).select_from(Order)) == 0


def test_a_repeated_request_returns_the_first_order(begin: Begin) -> None:
    with begin.begin() as session:
        first, new = place(session, **GOOD, request_key="k-1")
    with begin.begin() as session:
        again, new_again = place(session, **GOOD, request_key="k-1")

    assert (new, new_again) == (True, False)
    assert again.id == first.id


def test_a_request_key_with_another_content_is_refused(begin: Begin) -> None:
    with begin.begin() as session:
        place(session, **GOOD, request_key="k-1")
        with pytest.raises(RequestReused):
            place(session, **{**GOOD, "name": "Someone Else"}, request_key="k-1")


def test_of_requests_with_one_key_at_the_same_time_one_places(begin: Begin) -> None:
    together = Barrier(6)

    def request(_: int) -> tuple[str, bool]:
        together.wait(10)
        with begin.begin() as session:
            order, new = place(session, **GOOD, request_key="k-1")
            return order.id, new

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(request, range(6)))

    assert len({order_id for order_id, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1
