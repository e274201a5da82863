from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from celadon.ledger import session
from services.orders.model import Product
from tests.servers import MailSink
from tests.unit.web.conftest import Client


def form(client: Client, **changes: str) -> dict[str, str]:
    """The form as a browser sends it, filled in."""
    fields = re.findall(r'<input[^>]*?\sname="([^"]+)"[^>]*?\svalue="([^"]*)"', client.get("/").text, re.S)
    filled = {"customer.name": "Mina Itō", "customer.email": "mina@example.com", "quantity.BOWL-TEA": "2"}
    return {**dict(fields), **filled, **changes}


def text_of(answer: Any) -> str:
    return unescape(answer.text)


def test_the_catalogue_shows_every_product_with_its_price(client: Client) -> None:
    page = text_of(client.get("/"))

    assert page.count('class="card"') == 12
    for words in ("Moon jar", "€240.00", "3 left", "Half a litre, a cane handle, no dripping."):
        assert words in page


def test_what_is_sold_out_cannot_be_ordered(client: Client) -> None:
    with session() as own:
        own.get_one(Product, "JAR-MOON").stock = 0
        own.commit()

    page = client.get("/").text

    assert "Sold out" in page
    assert re.search(r'name="quantity.JAR-MOON"[^>]*\sdisabled', page)


def test_an_order_leads_to_its_page(client: Client, mail_sink: MailSink) -> None:
    answer = client.post("/orders", data=form(client))

    assert answer.status_code == 303
    page = text_of(client.get(answer.headers["Location"]))
    for words in ("Order C-000001", "by Mina Itō", "€48.00", "Sent to mina@example.com", "Download the invoice"):
        assert words in page
    assert len(mail_sink.messages) == 1


def test_fields_to_mend_are_marked_and_what_was_filled_in_is_kept(client: Client) -> None:
    changes = {"customer.email": "mina", "quantity.BOWL-TEA": "200", "quantity.POT-TEA": "x", "quantity.VASE-BUD": "4"}
    answer = client.post("/orders", data=form(client, **changes))

    page = text_of(answer)
    assert answer.status_code == 422
    for field in ("customer.email", "quantity.BOWL-TEA", "quantity.POT-TEA"):
        assert f'id="mend-{field}"' in page
        assert f'aria-describedby="mend-{field}"' in page
        assert f'href="#{field}"' in page
    assert page.count("aria-invalid") == 3
    for kept in ('value="Mina Itō"', 'value="mina"', 'value="200"', 'value="4"'):
        assert kept in page


def test_an_empty_order_is_told_so(client: Client) -> None:
    answer = client.post("/orders", data=form(client, **{"quantity.BOWL-TEA": "0"}))

    assert answer.status_code == 422
    assert "Choose at least one product." in answer.text


def test_a_double_click_orders_once(client: Client, mail_sink: MailSink) -> None:
    filled = form(client)

    first, second = (client.post("/orders", data=filled) for _ in range(2))

    assert first.headers["Location"] == second.headers["Location"]
    assert len(mail_sink.messages) == 1


def test_who_goes_back_and_changes_something_orders_anew(client: Client) -> None:
    filled = form(client)

    first = client.post("/orders", data=filled)
    second = client.post("/orders", data={**filled, "quantity.BOWL-TEA": "3"})

    assert first.headers["Location"] != second.headers["Location"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{{ 7 * 7 }}", '"><img src=x>'])
def test_what_a_customer_writes_stays_text(client: Client, name: str) -> None:
    wrong = client.post("/orders", data=form(client, **{"customer.name": name, "customer.email": ""}))
    right = client.post("/orders", data=form(client, **{"customer.name": name}))

    for page in (wrong.text, client.get(right.headers["Location"]).text):
        assert name in unescape(page)
        assert "<script>alert" not in page
        assert "<img" not in page
