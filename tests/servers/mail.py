"""A mail server that keeps every message it was given, repeats included."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.process import free_port


class MailSink:
    """An SMTP conversation partner on a free port; its answer to the message's data can be scripted.

    Attributes:
        messages: what was accepted, in order; nothing is de-duplicated.
        answers: replies to give to the next messages instead of `250`, for example `["451 try later"]`.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.messages: list[EmailMessage] = []
        self.answers: list[str] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 kept"
        if answer.startswith("2"):
            content = cast(Any, envelope.content)
            message = message_from_bytes(content, policy=modern)
            self.messages.append(message)
        return answer
