"""The stock check tells what is short, once each time that it gets so."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session, sessionmaker

from services.mail import MailDelayed, SmtpMailer
from services.orders.model import Product
from services.orders.reorder import check
from tests.servers import MailSink
from tests.unit.services.steps import MemorySteps

Begin = sessionmaker[Session]


def run(
    begin: Begin, mail: MailSink, to: str = "admin@example.org", steps: MemorySteps | None = None
) -> dict[str, int]:
    return check(steps=steps or MemorySteps(begin), mailer=SmtpMailer(mail.url, "Celadon <shop@example.org>"), to=to)


def leave(begin: Begin, **left: int) -> None:
    with begin.begin() as session:
        for name, stock in left.items():
            session.get_one(Product, name.replace("_", "-")).stock = stock


def test_while_there_is_enough_nobody_is_told(begin: Begin, mail_sink: MailSink) -> None:
    assert run(begin, mail_sink) == {"short": 0, "new": 0}
    assert mail_sink.messages == []


def test_what_is_at_its_reorder_level_is_told_once(begin: Begin, mail_sink: MailSink) -> None:
    leave(begin, POT_TEA=10, JAR_MOON=2)  # Of moon jars one is the level: two are enough.

    counts = [run(begin, mail_sink) for _ in range(2)]

    assert counts == [{"short": 1, "new": 1}, {"short": 1, "new": 0}]
    [message] = mail_sink.messages
    assert (message["To"], message["Subject"]) == ("admin@example.org", "To be ordered: Teapot")
    assert "10 left of Teapot (POT-TEA), to be ordered at 10" in message.get_content()


def test_what_gets_short_later_is_told_beside_what_still_is(begin: Begin, mail_sink: MailSink) -> None:
    leave(begin, POT_TEA=3)
    run(begin, mail_sink)
    leave(begin, JAR_MOON=0)

    assert run(begin, mail_sink) == {"short": 2, "new": 1}

    new, before = mail_sink.messages[-1].get_content().split("told before")
    assert "0 left of Moon jar" in new
    assert "3 left of Teapot" in before


def test_what_was_enough_in_between_is_told_again(begin: Begin, mail_sink: MailSink) -> None:
    for left in (3, 60, 3):
        leave(begin, POT_TEA=left)
        run(begin, mail_sink)

    assert len(mail_sink.messages) == 2


def test_a_mail_that_did_not_go_out_goes_out_later_with_the_same_list(begin: Begin, mail_sink: MailSink) -> None:
    # Given a mail that was greylisted
    leave(begin, POT_TEA=3)
    mail_sink.answers = ["451 come back"]
    steps = MemorySteps(begin)
    with pytest.raises(MailDelayed):
        run(begin, mail_sink, steps=steps)
    # When the job is tried again, and the shelf is emptier
    leave(begin, JAR_MOON=0)
    run(begin, mail_sink, steps=steps)
    # Then what was found first is told, and the rest by the next hour's job
    assert [message["Subject"] for message in mail_sink.messages] == ["To be ordered: Teapot"]
    run(begin, mail_sink)
    assert mail_sink.messages[-1]["Subject"] == "To be ordered: Moon jar"


def test_with_nobody_to_tell_it_stays_to_be_told(begin: Begin, mail_sink: MailSink) -> None:
    leave(begin, POT_TEA=3)
    assert [run(begin, mail_sink, to=""), run(begin, mail_sink)] == [{"short": 1, "new": 1}] * 2
    assert len(mail_sink.messages) == 1


def test_a_long_list_is_named_by_its_first(begin: Begin, mail_sink: MailSink) -> None:
    leave(begin, POT_TEA=0, BOWL_TEA=0, JAR_MOON=0, VASE_BUD=0, JUG_MILK=0)
    run(begin, mail_sink)
    assert mail_sink.messages[0]["Subject"] == "To be ordered: Tea bowl, Moon jar, Milk jug and 2 more"
