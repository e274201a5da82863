"""The sales report: what it adds up, how it goes on, and that it says the same each time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from services.mail import SmtpMailer
from services.orders.model import Order, OrderLine, SalesReport, get_order
from services.reports import sales
from tests.servers import MailSink
from tests.unit.services.conftest import Place
from tests.unit.services.steps import MemorySteps, StepsFailed

Begin = sessionmaker[Session]
VIENNA = ZoneInfo("Europe/Vienna")
DAY = date(2026, 10, 25)  # Of 25 hours: summer time ends.
LATER = datetime(2026, 10, 26, 2, 30, tzinfo=VIENNA)
At = Callable[..., None]


@pytest.fixture
def at(begin: Begin, placed: Place) -> At:
    """Places an order at an instant: `at("2026-10-25T12:00+01:00", BOWL_TEA=2)`."""

    def place(instant: str, **quantities: int) -> None:
        order = placed(**quantities)
        with begin.begin() as session:
            get_order(session, order.id).created_at = datetime.fromisoformat(instant)

    return place


def run(begin: Begin, mail: MailSink | None = None, steps: MemorySteps | None = None, **how: Any) -> dict[str, Any]:
    mailer = SmtpMailer(mail.url if mail else "smtp://nobody", "Celadon <shop@example.org>")
    options = {"zone": VIENNA, "now": LATER, "to": "admin@example.org" if mail else "", **how}
    return sales.report(steps=steps or MemorySteps(begin), mailer=mailer, **options)


def kept(begin: Begin, day: date = DAY) -> SalesReport:
    with begin() as session:
        return session.get_one(SalesReport, day)


def test_a_day_is_added_up_by_product_in_the_shops_own_time(begin: Begin, at: At) -> None:
    # Given orders on a day of 25 hours, at its very ends, and just beyond them
    at("2026-10-24T23:59:59.999+02:00", JAR_MOON=1)
    at("2026-10-25T00:00+02:00", BOWL_TEA=2)
    at("2026-10-25T23:59:59.999+01:00", BOWL_TEA=1, POT_TEA=1)
    at("2026-10-26T00:00+01:00", JAR_MOON=1)
    # When the day is reported on
    totals = run(begin, day=DAY)
    # Then with what belongs to it
    assert totals == {
        "2026-10-25": {
            "timezone": "Europe/Vienna",
            "currency": "EUR",
            "orders": 2,
            "pieces": 4,
            "revenue_cents": 16_800,
            "tax_cents": 800 + 2_000,
        }
    }
    report = kept(begin)
    assert (report.orders, report.pieces, report.revenue_cents, report.tax_cents) == (2, 4, 16_800, 2_800)
    assert report.products == [
        {"sku": "POT-TEA", "name": "Teapot", "quantity": 1, "revenue_cents": 9_600},
        {"sku": "BOWL-TEA", "name": "Tea bowl", "quantity": 3, "revenue_cents": 7_200},
    ]


def test_parts_add_up_to_the_whole_whatever_their_size(begin: Begin, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in (1, 1, 1, 2, 3):  # Three at the same instant: a part may end between them.
        at(f"2026-10-25T12:0{minute}+01:00", BOWL_TEA=minute)
    whole = run(begin, day=DAY)

    for size in (1, 2, 5):
        monkeypatch.setattr(sales, "PART", size)
        assert run(begin, day=DAY) == whole


def test_a_run_that_is_killed_between_two_parts_repeats_none(
    begin: Begin, at: At, mail_sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that ended in its third part of one order each
    for hour in range(4):
        at(f"2026-10-25T1{hour}:00+01:00", BOWL_TEA=1)
    monkeypatch.setattr(sales, "PART", 1)
    add_up, added = sales.add_up, []

    def counted(session: Session, *how: Any) -> dict[str, Any]:
        added.append(how[-1])
        if len(added) == 3:
            raise KeyboardInterrupt
        return add_up(session, *how)

    monkeypatch.setattr(sales, "add_up", counted)
    steps = MemorySteps(begin)
    with pytest.raises(KeyboardInterrupt):
        run(begin, mail_sink, steps)
    # When the job runs again
    totals = run(begin, mail_sink, steps)
    # Then it goes on where it was, and nothing is counted or told twice
    assert added[2] == added[3]
    assert len(added) == len({str(part) for part in added}) + 1
    assert totals["2026-10-25"]["orders"] == kept(begin).orders == 4
    assert len(mail_sink.messages) == 1


def test_the_same_day_again_says_the_same_and_stays_one_row(begin: Begin, at: At) -> None:
    at("2026-10-25T12:00+01:00", BOWL_TEA=1)
    first, row = run(begin), kept(begin)

    assert run(begin, day=DAY) == first
    assert (kept(begin).orders, kept(begin).products) == (row.orders, row.products)
    assert run(begin) == {}, "a day that has its report is left alone"


def test_one_run_makes_up_for_all_that_were_missed(begin: Begin, at: At) -> None:
    # Given orders long ago, and nobody who reported for two months
    at("2026-08-20T12:00+02:00")
    at("2026-10-24T12:00+02:00", BOWL_TEA=1)
    # When a night's job runs
    totals = run(begin)
    # Then each of the last days has its report, also those without orders
    assert list(totals) == [str(DAY + timedelta(days=n)) for n in range(1 - sales.CATCH_UP, 1)]
    assert [day for day, sold in totals.items() if sold["orders"]] == ["2026-10-24"]


def test_a_new_shop_reports_on_nothing_before_its_first_order(begin: Begin, at: At) -> None:
    assert run(begin) == {}
    at("2026-10-24T12:00+02:00")
    assert list(run(begin)) == ["2026-10-24", "2026-10-25"]


@pytest.mark.parametrize("day", ["2026-10-26", "2026-10-27"])
def test_a_day_that_is_not_over_is_refused(begin: Begin, day: str) -> None:
    with pytest.raises(ValueError, match=f"{day} is not over in Europe/Vienna; the last .* is 2026-10-25"):
        run(begin, day=date.fromisoformat(day))


def test_the_administrator_gets_the_report_by_mail(begin: Begin, at: At, mail_sink: MailSink) -> None:
    at("2026-10-25T12:00+01:00", BOWL_TEA=2, POT_TEA=1)

    run(begin, mail_sink)

    [message] = mail_sink.messages
    assert message["To"] == "admin@example.org"
    assert message["Subject"] == "Sales of Sunday, 25 October 2026: 1 order, EUR 144.00"
    assert "2 x Tea bowl" in message.get_content()
    assert "EUR 48.00" in message.get_content()


def test_a_letter_that_could_not_be_sent_is_sent_by_a_later_run(begin: Begin, at: At, mail_sink: MailSink) -> None:
    # Given a night in which the mail server was away until the job gave up
    at("2026-10-25T12:00+01:00", BOWL_TEA=2)
    with pytest.raises(StepsFailed):
        run(begin, to="admin@example.org")
    assert kept(begin).to_mail
    # When the next night's job runs
    later = LATER + timedelta(days=1)
    assert list(run(begin, mail_sink, now=later)) == ["2026-10-25", "2026-10-26"]
    # Then both are told, once
    subjects = [message["Subject"].split(":")[0] for message in mail_sink.messages]
    assert subjects == ["Sales of Sunday, 25 October 2026", "Sales of Monday, 26 October 2026"]
    assert not kept(begin).to_mail
    assert run(begin, mail_sink, now=later) == {}


def test_a_letter_that_is_refused_keeps_no_other(begin: Begin, at: At, mail_sink: MailSink) -> None:
    at("2026-10-24T12:00+02:00")
    mail_sink.answers = ["550 not this one"]

    with pytest.raises(StepsFailed):
        run(begin, mail_sink)

    assert [message["Subject"].split(":")[0] for message in mail_sink.messages] == ["Sales of Sunday, 25 October 2026"]
    assert [kept(begin, day).to_mail for day in (DAY - timedelta(days=1), DAY)] == [True, False]


def test_where_nobody_is_told_no_letter_is_owed(begin: Begin, at: At, mail_sink: MailSink) -> None:
    at("2026-10-25T12:00+01:00")
    run(begin)
    assert run(begin, mail_sink) == {}


def test_a_day_without_orders_is_told_too(begin: Begin, at: At, mail_sink: MailSink) -> None:
    at("2026-10-24T12:00+02:00")
    run(begin, mail_sink)
    assert "Nothing was ordered." in mail_sink.messages[-1].get_content()


def test_thousands_of_orders_take_no_more_memory_than_a_part(begin: Begin) -> None:
    # Given a day of five parts
    many, noon = 5 * sales.PART, datetime(2026, 10, 25, 11, tzinfo=UTC)
    facts = {"customer_name": "Mina", "email": "m@example.com", "created_at": noon, "tax_bp": 2000}
    down = {"inventory_processed": False, "email_sent": False, "invoice_generated": False}
    line = {"sku": "BOWL-TEA", "name": "Tea bowl", "quantity": 2, "unit_price_cents": 2400}
    with begin.begin() as session:
        numbers = range(1, many + 1)
        order = {**facts, **down, "total_cents": 4800}
        session.execute(insert(Order), [{**order, "number": n, "id": str(uuid4())} for n in numbers])
        session.execute(insert(OrderLine), [{**line, "order_number": n} for n in numbers])
    run(begin, steps=MemorySteps(begin), day=DAY)  # What is loaded and cached at the first time is not counted.
    # When it is reported on
    tracemalloc.start()
    totals = run(begin, steps=MemorySteps(begin), day=DAY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Then all of it, in the memory of one part
    assert totals["2026-10-25"]["pieces"] == 2 * many
    assert peak < 4_000_000, peak
