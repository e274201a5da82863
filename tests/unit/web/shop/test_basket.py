from __future__ import annotations

from html import unescape

import pytest
from flask import Flask

from tests.servers import MailSink
from tests.unit.web.conftest import Client, Configure
from tests.unit.web.shop.forms import MINA, choose, fields, order_form, place, text_of


def quantities(client: Client) -> dict[str, str]:
    """What the basket's page shows."""
    page = client.get("/basket").text
    if "/orders" not in page or "quantity." not in page:
        return {}
    return {name: value for name, value in fields(page, "/orders").items() if name.startswith("quantity.")}


def test_an_empty_basket_says_so_and_leads_to_the_catalogue(client: Client) -> None:
    page = client.get("/basket").text

    assert "There is nothing in it yet." in page
    assert 'class="button" href="/"' in page


def test_the_basket_shows_amounts_and_the_total(client: Client) -> None:
    choose(client, "BOWL-TEA", "BOWL-TEA", "POT-TEA")

    page = text_of(client.get("/basket"))

    for words in ("Tea bowl", "€24.00 each", ">€48.00<", "Teapot", ">€96.00<", ">3 pieces<", ">€144.00<"):
        assert words in page


def test_more_than_is_on_the_shelf_is_said_before_ordering(client: Client) -> None:
    choose(client, *["JAR-MOON"] * 4)

    assert "Only 3 on the shelf now" in client.get("/basket").text


def test_quantities_change_and_zero_takes_out(client: Client) -> None:
    choose(client, "BOWL-TEA", "POT-TEA")
    form = fields(client.get("/basket").text, "/orders")

    answer = client.post("/basket", data={**form, "quantity.BOWL-TEA": "5", "quantity.POT-TEA": "0"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/basket")
    assert quantities(client) == {"quantity.BOWL-TEA": "5"}


def test_a_piece_is_removed_and_what_was_typed_stays(client: Client) -> None:
    choose(client, "BOWL-TEA", "POT-TEA")
    form = order_form(client, **{"quantity.BOWL-TEA": "7"})

    answer = client.post("/basket", data={**form, "remove": "POT-TEA"})

    assert answer.status_code == 200
    for kept in ('value="Mina Itō"', 'value="mina@example.com"', 'value="7"'):
        assert kept in text_of(answer)
    assert quantities(client) == {"quantity.BOWL-TEA": "7"}


def test_a_quantity_that_cannot_be_meant_changes_nothing_but_others_are_kept(client: Client) -> None:
    choose(client, "BOWL-TEA", "POT-TEA", "VASE-BUD")
    form = fields(client.get("/basket").text, "/orders")
    changes = {"quantity.BOWL-TEA": "100", "quantity.POT-TEA": "x", "quantity.VASE-BUD": " 4 "}

    answer = client.post("/basket", data={**form, **changes})

    assert answer.status_code == 422
    assert text_of(answer).count("The quantity must be from 0 to 99.") == 4  # Beside each field, and in the summary.
    assert quantities(client) == {"quantity.BOWL-TEA": "1", "quantity.POT-TEA": "1", "quantity.VASE-BUD": "4"}


@pytest.mark.parametrize("typed", [{}, MINA])
def test_a_page_that_is_not_the_newest_takes_nothing_out(client: Client, typed: dict[str, str]) -> None:
    choose(client, "BOWL-TEA", "VASE-BUD")
    old = fields(client.get("/basket").text, "/orders")
    choose(client, "POT-TEA")

    answer = client.post("/basket", data={**old, **typed, "quantity.BOWL-TEA": "2", "remove": "VASE-BUD"})

    assert quantities(client) == {"quantity.BOWL-TEA": "2", "quantity.POT-TEA": "1"}
    page = answer if typed else client.get("/basket")
    assert ">3 pieces<" in page.text
    assert "data-pieces>3</span>" in page.text


def test_a_piece_that_is_sold_no_more_leaves_the_basket(client: Client) -> None:
    with client.session_transaction() as kept:
        kept["basket"] = {"POT-GOLD": 2, "BOWL-TEA": 1}

    page = client.get("/basket").text

    assert "data-pieces>1</span>" in page
    with client.session_transaction() as kept:
        assert kept["basket"] == {"BOWL-TEA": 1}


def test_what_no_product_is_does_not_get_into_the_cookie(client: Client) -> None:
    choose(client, "BOWL-TEA")
    form = fields(client.get("/basket").text, "/orders")

    client.post("/basket", data={**form, **{f"quantity.{n:032}": "1" for n in range(100)}})

    with client.session_transaction() as kept:
        assert kept["basket"] == {"BOWL-TEA": 1}


def test_an_order_leads_to_its_page_and_empties_the_basket(client: Client, mail_sink: MailSink) -> None:
    page = text_of(client.get(place(client)))

    for words in ("Order C-000001", "by Mina Itō", "€48.00", "Sent to mina@example.com", "Download the invoice"):
        assert words in page
    assert len(mail_sink.messages) == 1
    assert "There is nothing in it yet." in client.get("/basket").text


def test_what_stands_in_the_fields_is_ordered_whatever_was_saved(client: Client) -> None:
    page = text_of(client.get(place(client, **{"quantity.BOWL-TEA": "3"})))

    assert "€72.00" in page


def test_fields_to_mend_are_marked_and_what_was_filled_in_is_kept(client: Client) -> None:
    choose(client, "BOWL-TEA", "POT-TEA", "VASE-BUD")
    changes = {"customer.email": "mina", "quantity.BOWL-TEA": "200", "quantity.POT-TEA": "x", "quantity.VASE-BUD": "4"}

    answer = client.post("/orders", data=order_form(client, **changes))

    page = text_of(answer)
    assert answer.status_code == 422
    for field in ("customer.email", "quantity.BOWL-TEA", "quantity.POT-TEA"):
        assert f'id="mend-{field}"' in page
        assert f'aria-describedby="mend-{field}"' in page
        assert f'href="#{field}"' in page
    assert page.count("aria-invalid") == 3
    assert "Tea bowl: The quantity must be from 1 to 99." in page
    assert 'role="alert" tabindex="-1" autofocus' in page
    for kept in ('value="Mina Itō"', 'value="mina"', 'value="200"', 'value="x"', 'value="4"'):
        assert kept in page


def test_an_empty_order_is_told_so(client: Client) -> None:
    answer = client.post("/orders", data=order_form(client, **{"quantity.BOWL-TEA": "0"}))

    assert answer.status_code == 422
    assert "Choose at least one product." in answer.text
    assert "There is nothing in it yet." in answer.text


def test_a_product_that_is_gone_from_the_catalogue_is_named(client: Client) -> None:
    answer = client.post("/orders", data=order_form(client, **{"quantity.POT-GOLD": "1"}))

    assert answer.status_code == 422
    assert "There is no product 'POT-GOLD'." in text_of(answer)
    assert 'href="#basket"' in answer.text


def test_a_double_click_orders_once(client: Client, mail_sink: MailSink) -> None:
    filled = order_form(client)

    first, second = (client.post("/orders", data=filled) for _ in range(2))

    assert first.headers["Location"] == second.headers["Location"]
    assert len(mail_sink.messages) == 1


def test_a_basket_of_two_tabs_is_ordered_once(app: Flask, client: Client, mail_sink: MailSink) -> None:
    # Given an order whose answer is not there yet, and the basket opened again
    first = order_form(client)
    second = order_form(client)
    cookie = client.get_cookie("celadon")
    placed = client.post("/orders", data=first)
    # When it is ordered once more from there
    impatient = app.test_client()
    impatient.set_cookie("celadon", cookie.value)
    again = impatient.post("/orders", data=second)
    # Then it is the same order
    assert again.headers["Location"] == placed.headers["Location"]
    assert len(mail_sink.messages) == 1


def test_the_same_pieces_can_be_ordered_anew(client: Client) -> None:
    assert place(client) != place(client)


def test_who_goes_back_and_changes_something_orders_anew(client: Client) -> None:
    filled = order_form(client)

    first = client.post("/orders", data=filled)
    second = client.post("/orders", data={**filled, "quantity.BOWL-TEA": "3"})

    assert first.headers["Location"] != second.headers["Location"]


def test_what_was_put_into_the_basket_meanwhile_stays_in_it(client: Client) -> None:
    filled = order_form(client)
    choose(client, "POT-TEA")

    client.post("/orders", data=filled)

    assert quantities(client) == {"quantity.POT-TEA": "1"}


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{{ 7 * 7 }}", '"><img src=x>'])
def test_what_a_customer_writes_stays_text(client: Client, name: str) -> None:
    wrong = client.post("/orders", data=order_form(client, **{"customer.name": name, "customer.email": ""}))
    stale = client.post("/orders", data=order_form(client, **{"customer.name": name, "csrf_token": name}))
    right = client.get(place(client, **{"customer.name": name}))

    for page in (wrong.text, stale.text, right.text):
        assert name in unescape(page)
        assert "<script>alert" not in page
        assert "<img" not in page


def test_with_the_ledger_away_the_order_can_be_sent_again(client: Client, configure: Configure, ledgers) -> None:
    # Given a filled form, and a ledger that has gone
    url = ledgers.fresh("sqlite")
    configure(ledger_url=url)
    filled = order_form(client)
    configure(ledger_url="sqlite:////nowhere/celadon.db")
    # When it is sent
    answer = client.post("/orders", data=filled)
    # Then the page says when to come back, and carries all that was filled in
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    again = fields(answer.text, "/orders")
    assert again.items() >= {**MINA, "quantity.BOWL-TEA": "2", "request": filled["request"]}.items()
    assert "Sending it again orders only once." in answer.text
    assert "orders only once" not in client.post("/basket", data=filled).text
    # And with the ledger back, its button orders; the basket was not lost before
    configure(ledger_url=url)
    assert quantities(client) == {"quantity.BOWL-TEA": "2"}
    assert client.post("/orders", data=again).status_code == 303
