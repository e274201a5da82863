"""The demo's closing sentence says what was found, and is good only when all of it is."""

from email.message import EmailMessage
from typing import Any

import pytest

from deploy.demo_report import Row, judge
from deploy.shop_client import Placed

SUCCEEDED = {"outcome": "succeeded"}
RUN_TWICE = {"attempts": [SUCCEEDED, SUCCEEDED]}
TIMES = {"created_at": "2026-11-22T10:00:00Z", "finished_at": "2026-11-22T10:00:01.5Z"}
BEFORE = {"cup": 10, "bowl": 10}


def row(number: int, **changes: Any) -> Row:
    """A finished order for two cups."""
    email = f"customer-{number}@example.com"
    job = {"state": "succeeded", "engine": "worker", "attempts": [SUCCEEDED], **TIMES}
    order = {"id": str(number), "number": f"C-{number}", "status": "complete", "processing": {}}
    return Row(
        placed=Placed(order_id=str(number), email=email, lines={"cup": 2}, receipt={"outcome": "inline"}),
        order={**order, **changes.get("order", {})},
        job={**job, **changes.get("job", {})},
        invoice=changes.get("invoice", b"%PDF-" + str(number).encode()),
    )


def mail(number: int, message_id: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["To"] = f"customer-{number}@example.com"
    message["Message-ID"] = message_id or f"<{number}@shop>"
    return message


ROWS = [row(1), row(2)]
MAILS = [mail(1), mail(2)]
AFTER = {"cup": 6, "bowl": 10}


def test_two_orders_done_once_are_good() -> None:
    verdict = judge(ROWS, MAILS, BEFORE, AFTER)
    assert verdict.sentence() == "2 orders, 2 e-mails, 2 invoices, stock exact, 0 lost, 0 doubled"
    assert verdict.good(expected=2)


def test_a_repeated_mail_is_counted_apart() -> None:
    verdict = judge(ROWS, [*MAILS, mail(1)], BEFORE, AFTER)
    assert (verdict.mails, verdict.mail_repeats) == (2, 1)
    assert verdict.good(expected=2)


def test_mail_to_others_is_not_counted() -> None:
    alert = EmailMessage()
    alert["To"], alert["Message-ID"] = "admin@example.org", "<alert@shop>"
    assert judge(ROWS, [*MAILS, alert], BEFORE, AFTER).mails == 2


@pytest.mark.parametrize(
    ("rows", "mails", "after", "words"),
    [
        pytest.param(ROWS[:1], MAILS, {"cup": 8, "bowl": 10}, "1 orders", id="an order is missing"),
        pytest.param(ROWS, MAILS[:1], AFTER, "1 e-mails", id="a mail is missing"),
        pytest.param(ROWS, [*MAILS, mail(1, "<new@shop>")], AFTER, "1 doubled", id="two different mails"),
        pytest.param([ROWS[0], row(2, invoice=b"")], MAILS, AFTER, "1 invoices", id="an invoice is missing"),
        pytest.param([row(1), row(2, invoice=ROWS[0].invoice)], MAILS, AFTER, "1 doubled", id="one invoice"),
        pytest.param(ROWS, MAILS, {"cup": 4, "bowl": 10}, "WRONG by {'cup': -2}", id="stock was taken twice"),
        pytest.param([ROWS[0], row(2, job={"state": "dead"})], MAILS, AFTER, "1 lost", id="a dead job"),
        pytest.param([row(1), row(2, order={"status": "new"})], MAILS, AFTER, "1 lost", id="unfinished"),
        pytest.param([row(1), row(2, job=RUN_TWICE)], MAILS, AFTER, "1 doubled", id="run twice"),
    ],
)
def test_anything_else_is_said_and_is_not_good(
    rows: list[Row], mails: list[EmailMessage], after: dict[str, int], words: str
) -> None:
    verdict = judge(rows, mails, BEFORE, after)
    assert words in verdict.sentence()
    assert not verdict.good(expected=2)


def test_a_line_shows_the_attempts_and_the_time() -> None:
    crashed = row(3, job={"attempts": [{"outcome": "crashed"}, SUCCEEDED]})
    assert "crashed → succeeded" in crashed.line()
    assert "1.50 s" in crashed.line()
