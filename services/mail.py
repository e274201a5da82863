"""Mail: the port through which a message leaves, and how one is begun."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Protocol
from urllib.parse import unquote, urlsplit

TIMEOUT_S = 5.0  # For connecting and for each answer; a healthy server needs milliseconds.


class MailRefused(Exception):
    """The mail server refused this message for good."""

    def __init__(self, code: int, answer: str) -> None:
        super().__init__(f"The mail server refused the message for good: {code} {answer}")
        self.code = code


class MailDelayed(Exception):
    """The mail server can't take the message now; a later try may succeed."""


class Mailer(Protocol):
    """Hands one message over. Raises MailRefused when trying again is useless, MailDelayed when it isn't."""

    @property
    def sender(self) -> str: ...
    def send(self, message: EmailMessage) -> None: ...


def letter(*, sender: str, to: Address | str, subject: str, text: str, key: str) -> EmailMessage:
    """A message of plain text, to which more may be added.

    Args:
        key: names the message. It becomes the Message-ID, by which mail systems tell a repeat.

    Raises:
        ValueError: a value has a line break, with which it would add a header of its own.
    """
    message = EmailMessage()
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
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
