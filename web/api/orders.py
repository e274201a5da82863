"""`/api/orders`: placing an order, and asking how far it is."""

from __future__ import annotations

from uuid import UUID

from flask import Response, abort, jsonify, request, url_for
from pydantic import BaseModel, ConfigDict, ValidationError

from services.orders.errors import Problem
from services.orders.place import Line
from web.ordering import order, tell
from web.problems import invalid, problem

MAX_KEY = 255  # Characters of an Idempotency-Key; the column's width.


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Customer(Strict):
    name: str
    email: str


class OrderedLine(Strict):
    sku: str
    quantity: int


class NewOrder(Strict):
    customer: Customer
    lines: list[OrderedLine]


def place() -> Response:
    """POST /api/orders: 202 with the order's address and the receipt of its job.

    With the header `Idempotency-Key` the request may be repeated: the first order is returned again. The same
    key with another content is refused (422).
    """
    if not request.is_json:
        abort(415, "The body must be JSON, sent as application/json.")
    try:
        wanted = NewOrder.model_validate_json(request.get_data())
    except ValidationError as error:
        return _misfit(error)
    placed, receipt = order(
        name=wanted.customer.name,
        email=wanted.customer.email,
        lines=[Line(line.sku, line.quantity) for line in wanted.lines],
        request_key=_request_key(),
    )
    href = url_for("api.order", order_id=placed.id)
    answer = jsonify({"id": placed.id, "number": placed.label, "href": href, "receipt": receipt.as_dict()})
    answer.status_code, answer.location = 202, href
    return answer


def one(order_id: UUID) -> Response:
    """GET /api/orders/{id}: the order, its steps with last error and last attempt, its job and invoice."""
    return jsonify(tell(str(order_id)))


def _request_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        abort(400, f"An Idempotency-Key has 1 to {MAX_KEY} printable ASCII characters.")
    return key


def _misfit(error: ValidationError) -> Response:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return problem(400, f"The body is not JSON: {found[0]['msg']}.")
    return invalid([Problem(field=".".join(map(str, each["loc"])), message=each["msg"]) for each in found])
