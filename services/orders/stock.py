"""The inventory step: takes an order's products from the shelf, all of them or none."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.orders.errors import OutOfStock
from services.orders.model import Product, get_order
from services.orders.view import iso


def take(session: Session, order_id: str) -> dict[str, str | None]:
    """Take the stock of every line in the caller's transaction; an order that was served keeps what it got.

    Rows are changed in the order of their SKU, so that two orders never wait for each other in a circle, and
    by a statement that checks and takes at once, so that stock never falls below zero.

    Raises:
        OutOfStock: the caller's transaction must be rolled back, for lines before the short one are taken.
    """
    order = get_order(session, order_id)
    if not order.inventory_processed:
        for line in order.lines:
            taken = session.execute(
                update(Product)
                .where(Product.sku == line.sku, Product.stock >= line.quantity)
                .values(stock=Product.stock - line.quantity)
                .returning(Product.stock),
                execution_options={"synchronize_session": False},
            )
            if taken.first() is None:
                left = session.scalar(select(Product.stock).where(Product.sku == line.sku))
                raise OutOfStock(line.sku, line.quantity, left or 0)
        order.raise_flag("inventory_processed", datetime.now(UTC))
    return {"at": iso(order.inventory_processed_at)}
