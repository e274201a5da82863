"""The sales report as a letter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.mail import Mailer, letter
from services.orders.money import money


def write(report: Mapping[str, Any], mailer: Mailer, to: str, *, key: str) -> dict[str, str]:
    """Send a day's report. At least once; a repeat carries the same Message-ID, made from `key`."""
    day = date.fromisoformat(report["day"])
    subject = f"Sales of {day:%A, %-d %B %Y}: {_orders(report)}, {_money(report, 'revenue_cents')}"
    message = letter(sender=mailer.sender, to=to, subject=subject, text=_text(report, day), key=key)
    mailer.send(message)
    return {"message_id": str(message["Message-ID"])}


def _text(report: Mapping[str, Any], day: date) -> str:
    lines = "\n".join(
        f"  {line['quantity']:>6} x {line['name'][:32]:<32} {_money(line, 'revenue_cents', report):>16}"
        for line in report["products"]
    )
    return f"""{day:%A, %-d %B %Y} ({report["timezone"]}): {_orders(report)}, {report["pieces"]} pieces.

{lines or "  Nothing was ordered."}

  {"Total":<41} {_money(report, "revenue_cents"):>16}
  {"of which tax":<41} {_money(report, "tax_cents"):>16}

These are the orders that were placed on that day, whatever became of them later.
"""


def _orders(report: Mapping[str, Any]) -> str:
    return "1 order" if report["orders"] == 1 else f"{report['orders']} orders"


def _money(facts: Mapping[str, Any], name: str, report: Mapping[str, Any] | None = None) -> str:
    return money(facts[name], f"{(report or facts)['currency']} ")
