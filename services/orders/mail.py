"""The e-mail step: the confirmation."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape

from sqlalchemy.orm import Session

from services.mail import Mailer, letter
from services.orders.model import get_order
from services.orders.money import money, percent
from services.orders.view import OrderView, iso


def confirm(order: OrderView, mailer: Mailer, *, key: str) -> dict[str, str | None]:
    """Send the confirmation of an order.

    At least once: when the server's last answer is lost, the message goes out again. It then carries the same
    Message-ID, made from `key`, by which mail systems tell a repeat.
    """
    message = compose(order, mailer.sender, key=key)
    mailer.send(message)
    return {"message_id": str(message["Message-ID"]), "at": iso(datetime.now(UTC))}


def record(session: Session, result: dict[str, str], *, order_id: str) -> None:
    """Note on the order what `confirm` returned."""
    get_order(session, order_id).raise_flag("email_sent", datetime.fromisoformat(result["at"]))


def compose(order: OrderView, sender: str, *, key: str) -> EmailMessage:
    """The confirmation as text and HTML. A value with a line break is refused, so none can add a header."""
    to = Address(order.customer_name, addr_spec=order.email)
    message = letter(sender=sender, to=to, subject=f"Your order {order.label}", text=_text(order), key=key)
    message.add_alternative(_html(order), subtype="html")
    return message


def _text(order: OrderView) -> str:
    lines = "\n".join(f"  {x.quantity:>3} x {x.name:<32} {money(x.total_cents):>12}" for x in order.lines)
    return f"""Dear {order.customer_name},

thank you for your order {order.label}. We are packing:

{lines}

  {"Total":<38} {money(order.total_cents):>12}
  {f"of which tax, {percent(order.tax_bp)}":<38} {money(order.tax_cents):>12}

Your invoice has the number {order.invoice_number}.

Celadon
"""


def _html(order: OrderView) -> str:
    cell = 'style="padding:8px 0;border-bottom:1px solid #dde5e1"'
    right = 'style="padding:8px 0;border-bottom:1px solid #dde5e1;text-align:right"'
    rows = "".join(
        f"<tr><td {cell}>{x.quantity} × {escape(x.name)}</td><td {right}>{money(x.total_cents)}</td></tr>"
        for x in order.lines
    )
    return f"""<!doctype html>
<html lang="en">
<body style="margin:0;padding:24px;background:#f4f7f5;color:#1c2421;font:16px/1.5 Georgia,serif">
<div style="max-width:520px;margin:auto;padding:32px;background:#fff;border-radius:12px">
<p style="margin:0 0 24px;color:#3e6b5c;font-size:22px">Celadon</p>
<p>Dear {escape(order.customer_name)},</p>
<p>thank you for your order <strong>{order.label}</strong>. We are packing:</p>
<table role="presentation" style="width:100%;border-collapse:collapse">{rows}
<tr><td style="padding:12px 0"><strong>Total</strong></td>
<td style="padding:12px 0;text-align:right"><strong>{money(order.total_cents)}</strong></td></tr></table>
<p style="color:#6e7a75;font-size:14px">Contains {percent(order.tax_bp)} tax, {money(order.tax_cents)}.
Your invoice has the number {order.invoice_number}.</p>
</div></body></html>
"""
