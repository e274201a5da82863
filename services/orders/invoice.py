"""The invoice step: a PDF that is byte for byte the same whenever it is made from the same order."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from services.orders.model import Invoice, get_order
from services.orders.money import CURRENCY, money, percent
from services.orders.view import OrderView, iso, view_of

if TYPE_CHECKING:
    from fpdf import FPDF

# The font of the PDF standard needs no embedding and takes 3 ms, but knows Western European letters only.
# For other names a font is embedded, which takes about 70 ms.
_WIDE_FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"

_GREEN, _INK, _GREY = (62, 107, 92), (28, 36, 33), (110, 122, 117)
_WIDTHS = (88, 22, 32, 32)  # Millimetres: product, quantity, price, amount.


def issue(session: Session, order_id: str) -> dict[str, str | None]:
    """Make and store the invoice in the caller's transaction; one that exists is kept."""
    order = get_order(session, order_id)
    invoice = session.get(Invoice, order.number)
    if invoice is None:
        view = view_of(order, session)
        pdf = render(view)
        invoice = Invoice(
            order_number=order.number,
            number=view.invoice_number,
            pdf=pdf,
            sha256=hashlib.sha256(pdf).hexdigest(),
            created_at=datetime.now(UTC),
        )
        session.add(invoice)
    order.raise_flag("invoice_generated", invoice.created_at)
    return {"number": invoice.number, "sha256": invoice.sha256, "at": iso(invoice.created_at)}


def stored(session: Session, order_id: str) -> Invoice | None:
    """The invoice of an order, if it has been made. Raises OrderNotFound."""
    return session.get(Invoice, get_order(session, order_id).number)


def render(order: OrderView) -> bytes:
    """The PDF. Everything in it comes from the order, its dates too."""
    from fpdf import FPDF  # Loaded by those who render: it takes 20 MB, and Beat and the web never do.
    from fpdf.enums import Align

    pdf = FPDF()
    pdf.set_creation_date(order.created_at)
    pdf.set_title(f"Invoice {order.invoice_number}")
    pdf.set_author("Celadon")
    pdf.set_lang("en")
    pdf.set_margins(18, 20)
    pdf.c_margin = 0  # Text and rules begin at the same edge.
    font = _font(pdf, order)
    pdf.add_page()

    def text(size: float, value: str, colour: tuple[int, int, int] = _INK, *, bold: bool = False) -> None:
        pdf.set_font(font, "B" if bold else "", size)
        pdf.set_text_color(*colour)
        pdf.cell(0, size * 0.55, value, new_x="LMARGIN", new_y="NEXT")

    text(22, "Celadon", _GREEN, bold=True)
    text(9, "Stoneware under green glaze", _GREY)
    pdf.ln(12)
    text(15, f"Invoice {order.invoice_number}", bold=True)
    text(9, f"Order {order.label} · {order.created_at:%d %B %Y}", _GREY)
    pdf.ln(6)
    text(10, order.customer_name)
    text(10, order.email)
    pdf.ln(10)

    def row(*cells: str, bold: bool = False, colour: tuple[int, int, int] = _INK) -> None:
        pdf.set_font(font, "B" if bold else "", 10)
        pdf.set_text_color(*colour)
        for width, value in zip(_WIDTHS, cells, strict=True):
            pdf.cell(width, 8, value, align=Align.L if width == _WIDTHS[0] else Align.R)
        pdf.ln()

    def rule() -> None:
        pdf.set_draw_color(*_GREEN)
        pdf.line(pdf.l_margin, pdf.y + 1, pdf.l_margin + sum(_WIDTHS), pdf.y + 1)
        pdf.ln(2)

    row("Product", "Quantity", "Price", "Amount", colour=_GREY)
    rule()
    for line in order.lines:
        row(line.name, str(line.quantity), _amount(line.unit_price_cents), _amount(line.total_cents))
    rule()
    row("", "", "Net", _amount(order.total_cents - order.tax_cents))
    row("", "", f"Tax {percent(order.tax_bp)}", _amount(order.tax_cents))
    row("", "", "Total", _amount(order.total_cents), bold=True, colour=_GREEN)
    pdf.ln(12)
    text(9, "Thank you for your order.", _GREY)
    return bytes(pdf.output())


def _amount(cents: int) -> str:
    return money(cents, f"{CURRENCY} ")


def _font(pdf: FPDF, order: OrderView) -> str:
    words = "".join((order.customer_name, order.email, *(line.name for line in order.lines)))
    if not any(ord(character) > 0xFF for character in words):
        return "helvetica"
    for style in ("", "B"):
        pdf.add_font("wide", style, _WIDE_FONT)
    return "wide"
