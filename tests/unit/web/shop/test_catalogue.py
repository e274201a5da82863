from __future__ import annotations

import re

from celadon.ledger import session
from services.orders.model import Product
from services.orders.place import MAX_LINES, MAX_QUANTITY
from tests.unit.web.conftest import Client
from tests.unit.web.shop.forms import choose, fields, text_of


def test_the_catalogue_shows_every_product_with_its_price(client: Client) -> None:
    page = text_of(client.get("/"))

    assert page.count('class="piece"') == 12
    for words in ("Moon jar", "€240.00", "3 left", "Half a litre, a cane handle, no dripping."):
        assert words in page


def test_what_is_sold_out_cannot_be_chosen(client: Client) -> None:
    with session() as own:
        own.get_one(Product, "JAR-MOON").stock = 0
        own.commit()

    page = client.get("/").text

    assert re.search(r'id="JAR-MOON">.*?<button class="add" disabled>Sold out</button>', page, re.S)
    assert len(re.findall(r"<button[^>]*\sdisabled", page)) == 1


def test_a_piece_goes_into_the_basket_and_the_visitor_back_to_where_it_stands(client: Client) -> None:
    form = fields(client.get("/").text, "/basket/add")

    answer = client.post("/basket/add", data={**form, "sku": "POT-TEA"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/#POT-TEA")
    choose(client, "POT-TEA", "BOWL-TEA")
    page = client.get("/").text
    assert re.search(r'id="POT-TEA">.*?2 in basket', page, re.S)
    assert ">3</span>" in page
    assert page.count(" in basket<") == 2


def test_a_piece_that_is_not_in_the_catalogue_is_refused(client: Client) -> None:
    form = fields(client.get("/").text, "/basket/add")

    answer = client.post("/basket/add", data={**form, "sku": "POT-GOLD"})

    assert answer.status_code == 404
    assert "There is no such piece." in answer.text


def test_no_more_than_an_order_may_have_fits_into_the_basket(client: Client) -> None:
    form = fields(client.get("/").text, "/basket/add")
    with client.session_transaction() as kept:
        kept["basket"] = {"BOWL-TEA": MAX_QUANTITY, **{f"OTHER-{n}": 1 for n in range(MAX_LINES - 1)}}

    same = client.post("/basket/add", data={**form, "sku": "BOWL-TEA"})
    other = client.post("/basket/add", data={**form, "sku": "POT-TEA"})

    assert same.status_code == 303
    assert f"{MAX_QUANTITY} in basket" in client.get("/").text
    assert other.status_code == 422
    assert f"A basket holds {MAX_LINES} different pieces" in other.text


def test_who_opens_the_address_of_a_form_is_told_what_it_is(client: Client) -> None:
    answer = client.get("/basket/add")

    assert answer.status_code == 405
    assert "This address only takes what a form of the shop sends." in answer.text
