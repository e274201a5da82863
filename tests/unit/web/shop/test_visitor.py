"""What the cookie holds, and that a browser takes it."""

from __future__ import annotations

import secrets
from uuid import uuid4

from flask import Flask, session

from services.orders.place import MAX_LINES, MAX_QUANTITY
from tests.unit.web.conftest import Client, wish
from tests.unit.web.shop.forms import choose, place
from web.shop import visitor

LARGEST_COOKIE = 4096  # Bytes of name, value and attributes together that every browser keeps (RFC 6265, 6.1).


def test_the_largest_basket_with_the_longest_history_fits_into_a_cookie(app: Flask, client: Client) -> None:
    # Given as many lines and orders as there may be, of ids that no compression makes smaller
    with app.test_request_context():
        visitor.keep({secrets.token_urlsafe(24): MAX_QUANTITY for _ in range(MAX_LINES + 10)})
        for _ in range(visitor.MAX_ORDERS + 10):
            visitor.ordered(str(uuid4()), [])
        assert (len(visitor.basket()), len(visitor.orders())) == (MAX_LINES, visitor.MAX_ORDERS)
        full = dict(session)
    with client.session_transaction() as kept:
        kept.update(full)
    # When a page is asked for, which adds a token for its forms
    cookie = client.get("/").headers["Set-Cookie"]
    # Then what comes back is a cookie that a browser keeps
    assert len(cookie.encode()) <= LARGEST_COOKIE


def test_no_name_and_no_address_is_in_the_cookie(client: Client) -> None:
    address = place(client)
    choose(client, "POT-TEA")

    with client.session_transaction() as kept:
        assert {name: value for name, value in kept.items() if name not in ("csrf_token", "number")} == {
            "basket": {"POT-TEA": 1},
            "orders": [address.removeprefix("/orders/")],
        }


def test_an_order_that_is_repeated_stands_in_the_history_once_and_first(app: Flask) -> None:
    with app.test_request_context():
        for order_id in ("a", "b", "a"):
            visitor.ordered(order_id, [])

        assert visitor.orders() == ["a", "b"]


def test_the_api_and_static_files_set_no_cookie(client: Client) -> None:
    place(client)

    answers = [client.post("/api/orders", json=wish()), client.get("/api/products"), client.get("/static/shop.css")]

    for answer in answers:
        assert "Set-Cookie" not in answer.headers
