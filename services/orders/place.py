"""Placing an order: all problems are found before anything is written; a repeated request places nothing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.orders.errors import InvalidOrder, Problem, RequestReused
from services.orders.model import Order, OrderLine, Product
from services.orders.money import TAX_BP

MAX_LINES = 50  # An order stays one page of an invoice and one short transaction.
MAX_QUANTITY = 99  # Per product: more is business by telephone, or a typing error.
MAX_NAME = 120  # Characters; the column's width.
MAX_EMAIL = 254  # RFC 5321, path without its brackets.

# Deliberately narrow: what any mail server takes, and nothing that means something inside a header.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@(?:{_LABEL}\.)+{_LABEL}")
_SKU = re.compile(r"[A-Za-z0-9._-]{1,32}")


class Line(NamedTuple):
    sku: str
    quantity: int


def place(
    session: Session,
    *,
    name: str,
    email: str,
    lines: Sequence[Line],
    request_key: str | None = None,
    tax_bp: int = TAX_BP,
) -> tuple[Order, bool]:
    """Store an order in the caller's transaction; return it, and whether it is new.

    Stock is not looked at: taking it is the workflow's first step, which says clearly what is short.

    Args:
        request_key: names this request. The same key with the same content returns the first order again.
        tax_bp: value added tax contained in the prices, in basis points.

    Raises:
        InvalidOrder: with every problem found.
        RequestReused: the key belongs to an order with other content.
    """
    name, email = " ".join(name.split()), email.strip()
    problems = [*_check_customer(name, email), *_check_lines(lines)]
    wanted = _together(lines)
    known = [sku for sku in wanted if _SKU.fullmatch(sku)]
    products = {each.sku: each for each in session.scalars(select(Product).where(Product.sku.in_(known)))}
    problems += [
        Problem(field=f"lines.{at}.sku", message=f"There is no product {line.sku[:32]!r}.")
        for at, line in enumerate(lines)
        if line.sku not in products
    ]
    if problems:
        raise InvalidOrder(problems)

    if request_key and (first := _placed_before(session, request_key)):
        return _same(first, name, email, wanted), False
    order = Order(
        id=str(uuid.uuid4()),
        request_key=request_key,
        customer_name=name,
        email=email,
        created_at=datetime.now(UTC),
        tax_bp=tax_bp,
        total_cents=sum(products[sku].price_cents * quantity for sku, quantity in wanted.items()),
        lines=[
            OrderLine(sku=sku, name=x.name, quantity=wanted[sku], unit_price_cents=x.price_cents)
            for sku, x in sorted(products.items())
        ],
    )
    try:
        with session.begin_nested():
            session.add(order)
    except IntegrityError:
        # Another request with this key won the race between our look and our insert.
        first = _placed_before(session, request_key) if request_key else None
        if first is None:
            raise
        return _same(first, name, email, wanted), False
    return order, True


def _placed_before(session: Session, request_key: str) -> Order | None:
    return session.scalar(select(Order).where(Order.request_key == request_key))


def _same(order: Order, name: str, email: str, wanted: dict[str, int]) -> Order:
    content = (order.customer_name, order.email, {line.sku: line.quantity for line in order.lines})
    if content != (name, email, wanted):
        raise RequestReused
    return order


def _together(lines: Sequence[Line]) -> dict[str, int]:
    """One line per product: naming it twice means wanting the sum."""
    wanted: dict[str, int] = {}
    for sku, quantity in lines:
        wanted[sku] = wanted.get(sku, 0) + quantity
    return wanted


def _check_customer(name: str, email: str) -> list[Problem]:
    problems = []
    if not name:
        problems.append(Problem(field="customer.name", message="Please tell us your name."))
    elif len(name) > MAX_NAME or not name.isprintable():
        message = f"A name has at most {MAX_NAME} characters and no control characters."
        problems.append(Problem(field="customer.name", message=message))
    if not email:
        problems.append(Problem(field="customer.email", message="Please tell us your e-mail address."))
    elif len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email) or ".." in email:
        message = "This is no complete e-mail address; one looks like mina@example.com."
        problems.append(Problem(field="customer.email", message=message))
    return problems


def _check_lines(lines: Sequence[Line]) -> list[Problem]:
    if not lines:
        return [Problem(field="lines", message="Choose at least one product.")]
    if len(lines) > MAX_LINES:
        return [Problem(field="lines", message=f"An order has at most {MAX_LINES} lines.")]
    together = _together(lines)
    return [
        Problem(field=f"lines.{at}.quantity", message=f"The quantity must be from 1 to {MAX_QUANTITY}.")
        for at, line in enumerate(lines)
        if line.quantity < 1 or together[line.sku] > MAX_QUANTITY
    ]
