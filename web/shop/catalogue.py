"""The catalogue, which is at the same time the order form."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from celadon.ledger import session
from services.orders import view
from services.orders.errors import InvalidOrder
from services.orders.place import MAX_QUANTITY, Line
from web.ordering import order

QUANTITY = "quantity."  # Prefix of a product's field; the rest is its SKU.


def show() -> str:
    """GET /"""
    return _page({"request": str(uuid.uuid4())}, {})


def place() -> Response | tuple[str, int]:
    """POST /orders: to the order's page, or back to the form with what is to be mended.

    The form carries a number of its own, so that a double click or a reload orders once.
    """
    form = request.form
    lines = [
        Line(name.removeprefix(QUANTITY), _quantity(value))
        for name, value in form.items()
        if name.startswith(QUANTITY) and value.strip() not in ("", "0")
    ]
    name, email = form.get("customer.name", ""), form.get("customer.email", "")
    try:
        placed, _ = order(name=name, email=email, lines=lines, request_key=_request_key(name, email, lines))
    except InvalidOrder as error:
        mend = {_field(each.field, lines): each.message for each in error.problems}
        return _page(form, mend), HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("shop.order", order_id=placed.id), HTTPStatus.SEE_OTHER)


def _page(filled: Mapping[str, str], mend: Mapping[str, str]) -> str:
    with session(read_only=True) as own:
        products = view.catalogue(own)
    return render_template(
        "catalogue.html", products=products, filled=filled, mend=mend, most=MAX_QUANTITY, quantity=QUANTITY
    )


def _quantity(value: str) -> int:
    """The number; -1, which no order takes, for anything else."""
    value = value.strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1


def _field(field: str, lines: list[Line]) -> str:
    """The form's name for a field of the order: `lines.0.quantity` is `quantity.BOWL-TEA`."""
    first, *rest = field.split(".")
    return QUANTITY + lines[int(rest[0])].sku if first == "lines" and rest else field


def _request_key(name: str, email: str, lines: list[Line]) -> str | None:
    """Of the form's number and its content: who goes back and changes something orders anew."""
    number = request.form.get("request")
    if not number:
        return None
    content = repr((number, name, email, sorted(lines)))
    return "shop:" + hashlib.sha256(content.encode(errors="replace")).hexdigest()
