"""The sales report: what was ordered on a day, added up in small parts, kept, and mailed.

A day's orders don't change any more, so the parts may be days apart, and the same day reported again says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from services.mail import Mailer
from services.orders.model import Order, OrderLine, SalesReport
from services.orders.money import CURRENCY, tax_within
from services.reports.sales_mail import write
from services.steps import Steps

PART = 1000  # Orders per step: some milliseconds of the database's time, and then a place to stop at.
DAY = timedelta(days=1)
# Days that one run looks back for those that have no report, or whose letter was not sent: a month without a scheduler
# or a mail server is mended.
CATCH_UP = 31


def report(
    *, zone: ZoneInfo, steps: Steps, mailer: Mailer, to: str, day: date | None = None, now: datetime | None = None
) -> dict[str, dict[str, Any]]:
    """Report on each day that is over and has no report yet, or on one; return the totals of each.

    A run that is interrupted goes on after the last part that it has added up. A letter that can't be sent keeps no
    other; a later run reports on its day once more, and sends it then.

    Args:
        zone: where days begin and end.
        to: who gets the reports by mail, at least once each; empty: nobody.
        day: reported on again, or for the first time; None: the days that have no report, or one that was not sent.
        now: another time than the present, for tests.

    Raises:
        ValueError: the day is not over yet.
    """
    today = (now or datetime.now(UTC)).astimezone(zone).date()
    if day and day >= today:
        raise ValueError(f"{day} is not over in {zone.key}; the last day that can be reported on is {today - DAY}")
    days = [day.isoformat()] if day else steps.run("days", without_report, today, zone)
    reports = {name: _day(date.fromisoformat(name), zone, steps, to_mail=bool(to)) for name in days}
    with steps.independent():
        for name, kept in reports.items() if to else ():
            facts = {"day": name, **kept}
            steps.run(f"{name} mailed", write, facts, mailer, to, outside=True, record=partial(mailed, name))
    return {name: {key: value for key, value in kept.items() if key != "products"} for name, kept in reports.items()}


def _day(day: date, zone: ZoneInfo, steps: Steps, *, to_mail: bool) -> dict[str, Any]:
    sold = _add_up(day, zone, steps)
    kept: dict[str, Any] = steps.run(f"{day} kept", keep, day, zone, sold, to_mail=to_mail)
    return kept


def _add_up(day: date, zone: ZoneInfo, steps: Steps) -> dict[str, Any]:
    """All parts of a day together; in memory is one part, and a line per product."""
    sums = dict.fromkeys(("orders", "revenue_cents", "tax_cents"), 0)
    products: dict[str, dict[str, Any]] = {}
    part: dict[str, Any] = {"last": None}
    number = 0
    while not number or part["orders"] == PART:
        number += 1
        part = steps.run(f"{day} part {number}", add_up, day, zone, part["last"])
        for name in sums:
            sums[name] += part[name]
        for line in part["products"]:
            known = products.setdefault(line["sku"], {**line, "quantity": 0, "revenue_cents": 0})
            known["quantity"] += line["quantity"]
            known["revenue_cents"] += line["revenue_cents"]
    return {**sums, "products": sorted(products.values(), key=lambda line: (-line["revenue_cents"], line["sku"]))}


# --- the steps


def without_report(session: Session, today: date, zone: ZoneInfo) -> list[str]:
    """The days before `today` whose report is not made or not sent, oldest first, none from before the first order."""
    first = session.scalar(select(func.min(Order.created_at)))
    if first is None:
        return []
    begin = max(first.astimezone(zone).date(), today - CATCH_UP * DAY)
    there = set(session.scalars(select(SalesReport.day).where(SalesReport.day >= begin, ~SalesReport.to_mail)))
    days = (begin + n * DAY for n in range((today - begin).days))
    return [day.isoformat() for day in days if day not in there]


def add_up(session: Session, day: date, zone: ZoneInfo, after: list[Any] | None) -> dict[str, Any]:
    """The next part of a day's orders, after the one that stands in `last` of the part before."""
    begin, end = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + DAY))
    at, number = (datetime.fromisoformat(after[0]), after[1]) if after else (begin, 0)
    orders = session.execute(
        select(Order.number, Order.created_at, Order.total_cents, Order.tax_bp)
        .where(Order.created_at >= at, Order.created_at < end)
        .where(or_(Order.created_at > at, Order.number > number))
        .order_by(Order.created_at, Order.number)
        .limit(PART)
    ).all()
    lines = session.execute(
        select(
            OrderLine.sku,
            func.max(OrderLine.name).label("name"),
            func.sum(OrderLine.quantity).label("quantity"),
            func.sum(OrderLine.quantity * OrderLine.unit_price_cents).label("revenue_cents"),
        )
        .where(OrderLine.order_number.in_([order.number for order in orders]))
        .group_by(OrderLine.sku)
    ).mappings()
    return {
        "orders": len(orders),
        "revenue_cents": sum(order.total_cents for order in orders),
        "tax_cents": sum(tax_within(order.total_cents, order.tax_bp) for order in orders),
        "products": _plain(lines),
        "last": [orders[-1].created_at.isoformat(), orders[-1].number] if orders else None,
    }


def keep(session: Session, day: date, zone: ZoneInfo, sold: Mapping[str, Any], *, to_mail: bool) -> dict[str, Any]:
    """Write the day's row, in place of an earlier one; return it. to_mail: its letter is to be sent."""
    facts = {
        "timezone": zone.key,
        "currency": CURRENCY,
        "pieces": sum(line["quantity"] for line in sold["products"]),
        **sold,
    }
    session.merge(SalesReport(day=day, made_at=datetime.now(UTC), to_mail=to_mail, **facts))
    return facts


def mailed(day: str, session: Session, _: Any) -> None:
    """Note that the day's letter was sent."""
    session.execute(update(SalesReport).where(SalesReport.day == date.fromisoformat(day)).values(to_mail=False))


def _plain(lines: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    # PostgreSQL adds integers up to a Decimal, which JSON does not know.
    numbers = ("quantity", "revenue_cents")
    return [{key: int(value) if key in numbers else value for key, value in line.items()} for line in lines]
