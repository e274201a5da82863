"""`/api/products`: what can be ordered."""

from __future__ import annotations

from flask import Response, jsonify

from celadon.ledger import session
from services.orders.money import CURRENCY
from services.orders.view import catalogue


def every() -> Response:
    """List what can be ordered

    By name, with the price and what is left on the shelf.
    """
    with session(read_only=True) as own:
        products = catalogue(own)
    return jsonify(
        [
            {
                "sku": product.sku,
                "name": product.name,
                "description": product.description,
                "price_cents": product.price_cents,
                "currency": CURRENCY,
                "stock": product.stock,
            }
            for product in products
        ]
    )
