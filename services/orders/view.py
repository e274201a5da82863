"""The read side: an order as plain values, detached from any session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.model import FLAGS, Flag, Invoice, Order, Product, get_order
from services.orders.money import CURRENCY, tax_within

STEPS: dict[str, Flag] = dict(zip(("inventory", "email", "invoice"), FLAGS, strict=True))
"""The steps of the workflow, in their order, and the flag that each raises."""


class StepState(Protocol):
    """What is known of a step while it isn't done; its keeper is whoever runs the workflow."""

    @property
    def state(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def last_attempt_at(self) -> datetime | None: ...


@dataclass(frozen=True, kw_only=True)
class LineView:
    sku: str
    name: str
    quantity: int
    unit_price_cents: int

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True, kw_only=True)
class OrderView:
    id: str
    number: int
    job_id: str | None
    customer_name: str
    email: str
    created_at: datetime
    lines: tuple[LineView, ...]
    tax_bp: int
    total_cents: int
    raised: Mapping[Flag, datetime]  # The flags that are up, and since when.
    invoice_sha256: str | None = None

    @property
    def label(self) -> str:
        """The order's number for people."""
        return f"C-{self.number:06}"

    @property
    def invoice_number(self) -> str:
        return f"{self.created_at:%Y}-{self.number:06}"

    @property
    def tax_cents(self) -> int:
        return tax_within(self.total_cents, self.tax_bp)

    @property
    def status(self) -> Literal["processing", "complete"]:
        return "complete" if len(self.raised) == len(FLAGS) else "processing"

    def flags(self) -> dict[str, Any]:
        """`inventory_processed`, `inventory_processed_at` and so on, JSON-ready."""
        return {
            key: value
            for flag in FLAGS
            for key, value in ((flag, flag in self.raised), (f"{flag}_at", iso(self.raised.get(flag))))
        }

    def processing(self, steps: Mapping[str, StepState]) -> dict[str, dict[str, Any]]:
        """Per step: state, when it was done, last error and last attempt. The flag outranks the step."""
        found = {}
        for name, flag in STEPS.items():
            step, done_at = steps.get(name), self.raised.get(flag)
            found[name] = {
                "state": "done" if done_at else step.state if step else "waiting",
                "done_at": iso(done_at),
                "last_error": step.error if step else None,
                "last_attempt": iso(step.last_attempt_at) if step else None,
            }
        return found

    def as_dict(self, steps: Mapping[str, StepState]) -> dict[str, Any]:
        """The whole order, JSON-ready. `steps` by name: inventory, email, invoice."""
        return {
            "id": self.id,
            "number": self.label,
            "status": self.status,
            "created_at": iso(self.created_at),
            "customer": {"name": self.customer_name, "email": self.email},
            "lines": [
                {
                    "sku": line.sku,
                    "name": line.name,
                    "quantity": line.quantity,
                    "unit_price_cents": line.unit_price_cents,
                    "total_cents": line.total_cents,
                }
                for line in self.lines
            ],
            "currency": CURRENCY,
            "tax_cents": self.tax_cents,
            "total_cents": self.total_cents,
            **self.flags(),
            "processing": self.processing(steps),
        }


def load(session: Session, order_id: str) -> OrderView:
    """Raises OrderNotFound."""
    return view_of(get_order(session, order_id), session)


def load_many(session: Session, order_ids: Sequence[str]) -> list[OrderView]:
    """The orders of these ids, in the order asked for; an id of no order is left out. Two queries for all."""
    rows = session.execute(
        select(Order, Invoice.sha256)
        .outerjoin(Invoice, Invoice.order_number == Order.number)
        .where(Order.id.in_(order_ids))
    )
    views = {order.id: _view(order, sha256) for order, sha256 in rows}
    return [views[order_id] for order_id in order_ids if order_id in views]


def view_of(order: Order, session: Session) -> OrderView:
    invoice = session.get(Invoice, order.number)
    return _view(order, invoice.sha256 if invoice else None)


def _view(order: Order, invoice_sha256: str | None) -> OrderView:
    return OrderView(
        id=order.id,
        number=order.number,
        job_id=order.job_id,
        customer_name=order.customer_name,
        email=order.email,
        created_at=order.created_at,
        lines=tuple(
            LineView(sku=x.sku, name=x.name, quantity=x.quantity, unit_price_cents=x.unit_price_cents)
            for x in order.lines
        ),
        tax_bp=order.tax_bp,
        total_cents=order.total_cents,
        raised={flag: getattr(order, f"{flag}_at") for flag in FLAGS if getattr(order, flag)},
        invoice_sha256=invoice_sha256,
    )


def catalogue(session: Session) -> list[Product]:
    """Every product, by name. The rows stay readable when the session is closed."""
    return list(session.scalars(select(Product).order_by(Product.name)))


def iso(at: datetime | None) -> str | None:
    """`2026-11-22T02:40:00.123Z`"""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
