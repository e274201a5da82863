"""The e-mail step: the confirmation, and the port through which it leaves."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Protocol
from urllib.parse import unquote, urlsplit

from sqlalchemy.orm import Session

from services.orders.errors import MailDelayed, MailRefused
from services.orders.model import get_order
from services.orders.money import money, percent
from services.orders.view import OrderView, iso

TIMEOUT_S = 5.0  # For connecting and for each answer; a healthy server needs milliseconds.


class Mailer(Protocol):
    """Hands one message over. Raises MailRefused when trying again is useless, MailDelayed when it isn't."""

    @property
    def sender(self) -> str: ...
    def send(self, message: EmailMessage) -> None: ...


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
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message = EmailMessage()
    message["Message-ID"] = f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"
    message["From"] = sender
    message["To"] = Address(order.customer_name, addr_spec=order.email)
    message["Subject"] = f"Your order {order.label}"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(order))
    message.add_alternative(_html(order), subtype="html")
    return message


class SmtpMailer:
    """A real SMTP conversation per message.

    Args:
        url: `smtp://host:port` or `smtps://user:password@host:port`. Default ports are 25, 465, and 587 with
            credentials over smtp://. A password never travels in clear: there it needs STARTTLS, except on
            this host.
        sender: for example `Celadon <shop@example.org>`.
        timeout_s: for connecting and for each answer, in seconds.
    """

    def __init__(self, url: str, sender: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError(  # Without the address, for it may hold a password.
                f"The mail server's address has scheme {parts.scheme!r} and host {parts.hostname!r}; "
                "it looks like smtp://host:25 or smtps://user:password@host"
            )
        self.sender = sender
        self._tls = parts.scheme == "smtps"
        self._host = parts.hostname
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._port = parts.port or (465 if self._tls else 587 if self._user else 25)
        self._timeout_s = timeout_s

    def send(self, message: EmailMessage) -> None:
        try:
            server = self._connect()
            try:
                server.send_message(message)
            except BaseException:
                server.close()
                raise
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal(*next(iter(error.recipients.values()))) from error
        except smtplib.SMTPDataError as error:
            raise _refusal(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            raise MailDelayed(f"The mail server {self._host}:{self._port} failed: {error}") from error
        # The message is accepted. A lost goodbye must not make it a failure, for it would be sent again.
        with suppress(smtplib.SMTPException, OSError):
            server.quit()

    def _connect(self) -> smtplib.SMTP:
        if self._tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        if self._user:
            if not self._tls and self._host not in ("localhost", "127.0.0.1", "::1"):
                server.starttls(context=ssl.create_default_context())
            server.login(self._user, self._password)
        return server


def _refusal(code: int, answer: bytes | str) -> MailRefused | MailDelayed:
    said = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    if code >= 500:
        return MailRefused(code, said)
    return MailDelayed(f"The mail server asks to try later: {code} {said}")


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
