"""The tables of the shop. `services/migrations` makes them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from services.orders.errors import OrderNotFound

Flag = Literal["inventory_processed", "email_sent", "invoice_generated"]
FLAGS: tuple[Flag, ...] = ("inventory_processed", "email_sent", "invoice_generated")


class Utc(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which knows no zones, stores it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use an aware time, such as datetime.now(UTC)")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {datetime: Utc}  # noqa: RUF012 - read by SQLAlchemy


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        CheckConstraint("price_cents >= 0", name="price_not_negative"),
    )

    sku: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(Text)
    price_cents: Mapped[int]  # With tax.
    stock: Mapped[int]
    reorder_at: Mapped[int] = mapped_column(server_default="10")  # With so many or fewer left, it is to be ordered.
    low_told_at: Mapped[datetime | None]  # When the administrator was told so; empty while there is enough.


class Order(Base):
    """An order and how far it is. Its id is random, for whoever knows it may read the order."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(  # Which orders have a customer's name still; the others are no more to be looked at, night for night.
            "ix_orders_not_forgotten",
            "created_at",
            postgresql_where=text("forgotten_at IS NULL"),
            sqlite_where=text("forgotten_at IS NULL"),
        ),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    request_key: Mapped[str | None] = mapped_column(String(255), unique=True)  # The caller's Idempotency-Key.
    job_id: Mapped[str | None] = mapped_column(String(64))
    customer_name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(index=True)
    total_cents: Mapped[int]  # With tax.
    tax_bp: Mapped[int]
    forgotten_at: Mapped[datetime | None]  # When the customer's name and address were removed; both are empty then.

    inventory_processed: Mapped[bool] = mapped_column(default=False)
    inventory_processed_at: Mapped[datetime | None]
    email_sent: Mapped[bool] = mapped_column(default=False)
    email_sent_at: Mapped[datetime | None]
    invoice_generated: Mapped[bool] = mapped_column(default=False)
    invoice_generated_at: Mapped[datetime | None]

    # By SKU: the one order in which rows are locked, shown and printed.
    lines: Mapped[list[OrderLine]] = relationship(order_by="OrderLine.sku", lazy="selectin")

    def raise_flag(self, flag: Flag, at: datetime) -> None:
        """Note that a step is done. Flags only ever rise, and the first time stands."""
        if not getattr(self, flag):
            setattr(self, flag, True)
            setattr(self, f"{flag}_at", at)


class OrderLine(Base):
    """A line keeps the product's name and price as they were when it was ordered."""

    __tablename__ = "order_lines"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_positive"),)

    order_number: Mapped[int] = mapped_column(ForeignKey("orders.number"), primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]


class Invoice(Base):
    __tablename__ = "invoices"

    order_number: Mapped[int] = mapped_column(ForeignKey("orders.number"), primary_key=True, autoincrement=False)
    number: Mapped[str] = mapped_column(String(32), unique=True)
    pdf: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class SalesReport(Base):
    """What was ordered on one day, of the shop's own time zone."""

    __tablename__ = "sales_reports"

    day: Mapped[date] = mapped_column(primary_key=True)
    timezone: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    orders: Mapped[int]
    pieces: Mapped[int]
    revenue_cents: Mapped[int] = mapped_column(BigInteger)  # With tax.
    tax_cents: Mapped[int] = mapped_column(BigInteger)
    products: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # sku, name, quantity, revenue_cents; best first.
    made_at: Mapped[datetime]
    to_mail: Mapped[bool] = mapped_column(default=False)  # Its letter has yet to be sent.


def get_order(session: Session, order_id: str) -> Order:
    """Raises OrderNotFound."""
    order = session.scalar(select(Order).where(Order.id == order_id))
    if order is None:
        raise OrderNotFound(order_id)
    return order
