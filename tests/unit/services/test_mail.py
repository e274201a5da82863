"""The port through which mail leaves, over real SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from services.mail import MailDelayed, MailRefused, SmtpMailer, letter
from tests.servers import MailSink
from tests.servers.process import free_port

SENDER = "Celadon <shop@example.org>"
# A password in clear is what this test server is about; it is on this host.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")

USER = (b"shop@example.org", b"s3cr:t/")


def hello() -> EmailMessage:
    return letter(sender=SENDER, to="mina@example.com", subject="Hello", text="Hello!", key="k-1")


def test_try_later_is_a_delay_and_the_next_try_arrives(mail_sink: MailSink) -> None:
    mail_sink.answers = ["451 greylisted, come back"]
    mailer = SmtpMailer(mail_sink.url, SENDER)

    with pytest.raises(MailDelayed, match="451 greylisted, come back"):
        mailer.send(hello())
    mailer.send(hello())

    assert len(mail_sink.messages) == 1


def test_a_message_refused_for_good_says_so(mail_sink: MailSink) -> None:
    mail_sink.answers = ["550 no such user here"]

    with pytest.raises(MailRefused, match="550 no such user here") as caught:
        SmtpMailer(mail_sink.url, SENDER).send(hello())
    assert caught.value.code == 550


class Scripted:
    """Answers to RCPT and QUIT as it is told."""

    def __init__(self) -> None:
        self.rcpt = "250 fine"
        self.drop_at_quit = False
        self.kept = 0

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server, session, envelope) -> str:
        self.kept += 1
        return "250 kept"

    async def handle_QUIT(self, server, session, envelope) -> str:
        if self.drop_at_quit:
            server.transport.abort()
        return "221 bye"


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """A server that wants the password `s3cr:t/` of the user `shop@example.org`."""

    def check(server, session, envelope, mechanism, given) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == USER, handled=False)

    handler = Scripted()
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=check,
        auth_required=True,
        auth_require_tls=False,
        auth_exclude_mechanism=["LOGIN"],
    )
    controller.start()
    yield handler, f"smtp://shop%40example.org:s3cr%3At%2F@127.0.0.1:{controller.port}"
    controller.stop()


@pytest.mark.parametrize(("answer", "error"), [("550 unknown", MailRefused), ("450 busy", MailDelayed)])
def test_the_answer_about_the_recipient_counts_alike(scripted, answer: str, error: type[Exception]) -> None:
    handler, url = scripted
    handler.rcpt = answer

    with pytest.raises(error, match=answer):
        SmtpMailer(url, SENDER).send(hello())


def test_a_lost_goodbye_does_not_make_an_accepted_message_a_failure(scripted) -> None:
    handler, url = scripted
    handler.drop_at_quit = True

    SmtpMailer(url, SENDER).send(hello())

    assert handler.kept == 1


def test_a_wrong_password_is_a_delay_for_the_operator_can_mend_it(scripted) -> None:
    _, url = scripted

    with pytest.raises(MailDelayed, match="535"):
        SmtpMailer(url.replace("s3cr", "guess"), SENDER).send(hello())


def test_a_server_that_is_away_is_a_delay() -> None:
    with pytest.raises(MailDelayed, match=r"127\.0\.0\.1"):
        SmtpMailer(f"smtp://127.0.0.1:{free_port()}", SENDER).send(hello())


def test_smtps_speaks_tls_from_the_first_byte(mail_sink: MailSink) -> None:
    with pytest.raises(MailDelayed, match="SSL"):
        SmtpMailer(mail_sink.url.replace("smtp:", "smtps:"), SENDER).send(hello())


def test_an_address_that_names_no_server_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ValueError, match="it looks like smtp://") as caught:
        SmtpMailer("http://shop:hunter2@mail.example.org", SENDER)
    assert "hunter2" not in str(caught.value)
