"""What the shop's requests and answers hold. What is right for an order, services/orders says."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from celadon import Receipt
from celadon.states import State
from web.api.models import Strict, Whole


class Customer(Strict):
    name: str
    email: str


class OrderedLine(Strict):
    sku: str
    quantity: Whole


class NewOrder(Strict):
    """What is ordered, and by whom."""

    customer: Customer
    lines: list[OrderedLine]


class PlacedOrder(BaseModel):
    """An order that was accepted."""

    id: str
    number: str
    href: str = Field(description="Where the order is.")
    receipt: Receipt


class Line(BaseModel):
    sku: str
    name: str
    quantity: int
    unit_price_cents: int
    total_cents: int


class Step(BaseModel):
    state: str
    done_at: str | None
    last_error: str | None
    last_attempt: str | None


class Steps(BaseModel):
    inventory: Step
    email: Step
    invoice: Step


class OrdersJob(BaseModel):
    id: str
    href: str
    state: State
    attempt: int
    max_attempts: int
    next_try: str | None


class OrdersInvoice(BaseModel):
    number: str
    href: str
    sha256: str


class Order(BaseModel):
    """An order, and how far it is."""

    id: str
    number: str
    status: Literal["processing", "complete", "failed"]
    finished: bool
    created_at: str
    customer: Customer
    lines: list[Line]
    currency: str
    tax_cents: int
    total_cents: int
    inventory_processed: bool
    inventory_processed_at: str | None
    email_sent: bool
    email_sent_at: str | None
    invoice_generated: bool
    invoice_generated_at: str | None
    processing: Steps
    job: OrdersJob | None
    invoice: OrdersInvoice | None


class Product(BaseModel):
    sku: str
    name: str
    description: str
    price_cents: int
    currency: str
    stock: int
