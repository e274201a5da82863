from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from services.orders.errors import MailDelayed, MailRefused
from services.orders.mail import SmtpMailer, compose, confirm
from services.orders.view import LineView, OrderView
from tests.servers import MailSink
from tests.servers.process import free_port

SENDER = "Celadon <shop@example.org>"
# A password in clear is what this test server is about; it is on this host.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")

USER = (b"shop@example.org", b"s3cr:t/")


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


def test_try_later_is_a_delay_and_the_next_try_arrives(mail_sink: MailSink) -> None:
    mail_sink.answers = ["451 greylisted, come back"]
    mailer = SmtpMailer(mail_sink.url, SENDER)

    with pytest.raises(MailDelayed, match="451 greylisted, come back"):
        confirm(order_of(), mailer, key="k-1")
    confirm(order_of(), mailer, key="k-1")

    assert len(mail_sink.messages) == 1


def test_a_message_refused_for_good_says_so(mail_sink: MailSink) -> None:
    mail_sink.answers = ["550 no such user here"]

    with pytest.raises(MailRefused, match="550 no such user here") as caught:
        confirm(order_of(), SmtpMailer(mail_sink.url, SENDER), key="k-1")
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
        confirm(order_of(), SmtpMailer(url, SENDER), key="k-1")


def test_a_lost_goodbye_does_not_make_an_accepted_message_a_failure(scripted) -> None:
    handler, url = scripted
    handler.drop_at_quit = True

    confirm(order_of(), SmtpMailer(url, SENDER), key="k-1")

    assert handler.kept == 1


def test_a_wrong_password_is_a_delay_for_the_operator_can_mend_it(scripted) -> None:
    _, url = scripted

    with pytest.raises(MailDelayed, match="535"):
        confirm(order_of(), SmtpMailer(url.replace("s3cr", "guess"), SENDER), key="k-1")


def test_a_server_that_is_away_is_a_delay() -> None:
    with pytest.raises(MailDelayed, match=r"127\.0\.0\.1"):
        confirm(order_of(), SmtpMailer(f"smtp://127.0.0.1:{free_port()}", SENDER), key="k-1")


def test_smtps_speaks_tls_from_the_first_byte(mail_sink: MailSink) -> None:
    with pytest.raises(MailDelayed, match="SSL"):
        confirm(order_of(), SmtpMailer(mail_sink.url.replace("smtp:", "smtps:"), SENDER), key="k-1")


def test_an_address_that_names_no_server_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ValueError, match="it looks like smtp://") as caught:
        SmtpMailer("http://shop:hunter2@mail.example.org", SENDER)
    assert "hunter2" not in str(caught.value)
