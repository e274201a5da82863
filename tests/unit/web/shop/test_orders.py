from __future__ import annotations

import hashlib
from uuid import uuid4

from services.orders.view import STEPS
from tests.servers import MailSink
from tests.unit.web.conftest import Client, wish
from web.shop.orders import STATUS, WORDS


def order_of(client: Client, **changes: object) -> str:
    order_id: str = client.post("/api/orders", json=wish(**changes)).json["id"]
    return order_id


def test_every_step_has_words_for_every_state() -> None:
    assert list(WORDS) == list(STEPS)
    for words in WORDS.values():
        assert set(words) == {"title", "waiting", "running", "done", "failed"}
    assert set(STATUS) == {"processing", "complete", "failed"}


def test_an_unfinished_order_keeps_itself_up_to_date(client: Client) -> None:
    page = client.get(f"/orders/{order_of(client, lines=[{'sku': 'JAR-MOON', 'quantity': 4}])}").text

    assert "order.js" in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "JAR-MOON is short: 4 wanted, 3 left" in page
    assert "Next try at" in page


def test_a_finished_order_asks_no_more(client: Client) -> None:
    page = client.get(f"/orders/{order_of(client)}").text

    assert "order.js" not in page
    assert "http-equiv" not in page


def test_the_invoice_can_be_downloaded(client: Client) -> None:
    order_id = order_of(client)

    answer = client.get(f"/orders/{order_id}/invoice.pdf")

    invoice = client.get(f"/api/orders/{order_id}").json["invoice"]
    assert answer.mimetype == "application/pdf"
    assert hashlib.sha256(answer.data).hexdigest() == invoice["sha256"]
    assert f"celadon-invoice-{invoice['number']}.pdf" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_order_that_needs_people_says_so(client: Client, mail_sink: MailSink) -> None:
    mail_sink.answers = ["550 no such user"]

    page = client.get(f"/orders/{order_of(client)}").text

    assert f">{STATUS['failed']}</p>" in page


def test_unknown_orders_and_invoices_are_pages_that_say_so(client: Client) -> None:
    for path in (f"/orders/{uuid4()}", f"/orders/{uuid4()}/invoice.pdf"):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
