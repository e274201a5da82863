"""`/api/orders`: placing an order, and asking how far it is."""

from __future__ import annotations

from uuid import UUID

from flask import Response, jsonify, url_for

from celadon.ledger.apikeys import Scope
from services.orders.errors import OutOfStock
from services.orders.place import Line
from web.api import callers
from web.api.asked import idempotency_key
from web.api.shop_models import NewOrder
from web.ordering import order, tell


def place(body: NewOrder) -> Response:
    """Place an order

    The answer has the order's address, which is the key to it, and the receipt of its job. With the header
    `Idempotency-Key` the request may be repeated: the first order is returned again. The same key with another content
    is refused. Who ran the job, and why so, is told to those who have a key with the scope `read`.
    """
    placed, receipt = order(
        name=body.customer.name,
        email=body.customer.email,
        lines=[Line(line.sku, line.quantity) for line in body.lines],
        request_key=idempotency_key(),
    )
    href = url_for("api.order", order_id=placed.id)
    told = receipt.as_dict()
    if not callers.may(Scope.READ):  # They speak of servers.
        told["by"] = told["reason"] = None
    answer = jsonify({"id": placed.id, "number": placed.label, "href": href, "receipt": told})
    answer.status_code, answer.location = 202, href
    return answer


def one(order_id: UUID) -> Response:
    """Show an order

    With each step's state and last attempt, its job and its invoice. A step's last error is told if it is about the
    stock; others speak of servers, and are told to those who have a key with the scope `read`.
    """
    told = tell(str(order_id))
    if not callers.may(Scope.READ):
        for step in told["processing"].values():
            if not (step["last_error"] or "").startswith(f"{OutOfStock.__name__}: "):
                step["last_error"] = None
    return jsonify(told)
