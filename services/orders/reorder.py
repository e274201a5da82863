"""The stock check: which products are to be ordered, told once each time that they get short."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.mail import Mailer, letter
from services.orders.model import Product
from services.orders.view import iso
from services.steps import Steps


def check(*, steps: Steps, mailer: Mailer, to: str) -> dict[str, int]:
    """Mail the products at or below their reorder level, if there are any that were not told before.

    A product is told again when there was enough of it in between.

    Args:
        to: who is told; empty: nobody.
    """
    short = steps.run("look", look)
    new = [product for product in short if product["new"]]
    if new and to:
        steps.run("tell", tell, short, mailer, to, outside=True, record=told)
    return {"short": len(short), "new": len(new)}


def look(session: Session) -> list[dict[str, Any]]:
    """Every product at or below its reorder level. Of which there is enough, it is forgotten that it was told."""
    session.execute(
        update(Product)
        .where(Product.stock > Product.reorder_at, Product.low_told_at.is_not(None))
        .values(low_told_at=None)
    )
    found = session.scalars(select(Product).where(Product.stock <= Product.reorder_at).order_by(Product.sku))
    return [
        {
            "sku": product.sku,
            "name": product.name,
            "stock": product.stock,
            "reorder_at": product.reorder_at,
            "new": product.low_told_at is None,
        }
        for product in found
    ]


def tell(short: Sequence[dict[str, Any]], mailer: Mailer, to: str, *, key: str) -> dict[str, Any]:
    """Send the list. At least once; a repeat carries the same Message-ID, made from `key`."""
    new = [product for product in short if product["new"]]
    before = [product for product in short if not product["new"]]
    subject = f"To be ordered: {', '.join(product['name'] for product in new[:3])}" + (
        f" and {len(new) - 3} more" if len(new) > 3 else ""
    )
    text = "These products have come to their reorder level:\n\n" + _lines(new)
    if before:
        text += "\nStill short, and told before:\n\n" + _lines(before)
    mailer.send(letter(sender=mailer.sender, to=to, subject=subject, text=text, key=key))
    return {"skus": [product["sku"] for product in new], "at": iso(datetime.now(UTC))}


def told(session: Session, result: dict[str, Any]) -> None:
    """Note on the products that they were told."""
    at = datetime.fromisoformat(result["at"])
    session.execute(update(Product).where(Product.sku.in_(result["skus"])).values(low_told_at=at))


def _lines(products: Sequence[dict[str, Any]]) -> str:
    return "".join(
        f"  {each['stock']:>6} left of {each['name']} ({each['sku']}), to be ordered at {each['reorder_at']}\n"
        for each in products
    )
