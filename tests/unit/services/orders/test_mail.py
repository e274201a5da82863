from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.mail import SmtpMailer
from services.orders.mail import compose, confirm
from services.orders.view import LineView, OrderView
from tests.servers import MailSink

SENDER = "Celadon <shop@example.org>"


def order_of(name: str = "Mina Itō") -> OrderView:
    return OrderView(
        id="7d4f", number=42, job_id=None, customer_name=name, email="mina@example.com",
        created_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC), tax_bp=2000, total_cents=123_400, raised={},
        lines=(LineView(sku="JAR-MOON", name="Moon jar <tall>", quantity=5, unit_price_cents=24_680),),
    )  # fmt: skip


def test_the_customer_gets_text_and_html_with_formatted_money(mail_sink: MailSink) -> None:
    result = confirm(order_of(), SmtpMailer(mail_sink.url, SENDER), key="k-1")

    [message] = mail_sink.messages
    text, html = (part.get_content() for part in message.iter_parts())
    assert message["To"] == "Mina Itō <mina@example.com>"
    assert message["From"] == SENDER
    assert message["Subject"] == "Your order C-000042"
    assert message["Message-ID"] == result["message_id"]
    assert "Dear Mina Itō" in text
    assert "€1,234.00" in text
    assert "€205.67" in text
    assert "Moon jar <tall>" in text
    assert "Moon jar &lt;tall&gt;" in html
    assert "€1,234.00" in html


def test_a_repeat_carries_the_same_message_id_and_another_order_another() -> None:
    ids = [compose(order_of(), SENDER, key=key)["Message-ID"] for key in ("k-1", "k-1", "k-2")]

    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("@example.org>")


@pytest.mark.parametrize("name", ["Mina\r\nBcc: all@example.com", "Mina\nX: y"])
def test_a_name_cannot_start_a_header_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match=r"CR|linefeed"):
        compose(order_of(name), SENDER, key="k-1")


@pytest.mark.parametrize("name", ['Mina "the bowl" Ito', "Ito, Mina", "<all@example.com>", "伊藤 🍵"])
def test_a_name_with_signs_of_the_mail_grammar_stays_a_name(name: str, mail_sink: MailSink) -> None:
    confirm(order_of(name), SmtpMailer(mail_sink.url, SENDER), key="k-1")

    [address] = mail_sink.messages[0]["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "mina@example.com")
