from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader
from sqlalchemy.orm import Session, sessionmaker

from services.orders.invoice import issue, render, stored
from services.orders.view import LineView, OrderView, load
from tests.unit.services.conftest import Place

Begin = sessionmaker[Session]


def order_of(name: str) -> OrderView:
    return OrderView(
        id="7d4f", number=42, job_id=None, customer_name=name, email="mina@example.com",
        created_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC), tax_bp=2000, total_cents=123_400, raised={},
        lines=(
            LineView(sku="BOWL-TEA", name="Tea bowl", quantity=1, unit_price_cents=2400),
            LineView(sku="JAR-MOON", name="Moon jar", quantity=5, unit_price_cents=24_200),
        ),
    )  # fmt: skip


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize("name", ["Mina Itō", "Łucja Żółć", "Ανδρέας Ψαράς", "Жанна Щукина", "José Núñez"])
def test_the_pdf_carries_number_customer_lines_tax_and_total(name: str) -> None:
    text = text_of(render(order_of(name)))

    assert "Invoice 2026-000042" in text
    assert "Order C-000042 · 22 November 2026" in text
    assert name in text
    assert "Moon jar" in text
    assert "EUR 1,210.00" in text
    assert "Tax 20 %" in text
    assert "EUR 205.67" in text
    assert "EUR 1,234.00" in text


@pytest.mark.parametrize("name", ["Mina Ito", "Łucja Żółć", "伊藤 美奈 🍵"])
def test_the_same_order_gives_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render(order_of(name))
    # Years later, and in another time zone
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)

    assert render(order_of(name)) == first


def test_an_order_with_many_lines_spreads_over_pages() -> None:
    order = order_of("Mina Ito")
    many = tuple(LineView(sku=f"S{i}", name=f"Thing {i}", quantity=1, unit_price_cents=100) for i in range(50))

    pdf = render(OrderView(**{**vars(order), "lines": many}))

    assert len(PdfReader(io.BytesIO(pdf)).pages) == 3
    assert "Thing 49" in text_of(pdf)


def test_an_invoice_is_stored_once_with_its_hash(begin: Begin, placed: Place) -> None:
    order = placed(BOWL_TEA=2)

    results = []
    for _ in range(2):
        with begin.begin() as session:
            results.append(issue(session, order.id))

    with begin() as session:
        invoice = stored(session, order.id)
        view = load(session, order.id)
        assert invoice is not None
        assert hashlib.sha256(invoice.pdf).hexdigest() == invoice.sha256 == view.invoice_sha256
        assert invoice.pdf == render(view)
    assert "invoice_generated" in view.raised
    assert results[0] == results[1]
    assert results[0]["number"] == view.invoice_number


def test_before_the_step_there_is_no_invoice(begin: Begin, placed: Place) -> None:
    order = placed()

    with begin() as session:
        assert stored(session, order.id) is None
