"""The basket, which is at the same time the order form: what stands in its fields is what is ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from celadon.ledger import session
from services.orders.errors import InvalidOrder
from services.orders.place import MAX_EMAIL, MAX_NAME, MAX_QUANTITY, Line
from services.orders.view import catalogue
from web.ordering import order
from web.shop import visitor

QUANTITY = "quantity."  # Prefix of a piece's field; the rest is its SKU.
TYPED = ("customer.name", "customer.email")

Answer = Response | str | tuple[str, int]


def show() -> str:
    """GET /basket"""
    sold = _sold(visitor.basket())
    if sold != visitor.basket():  # A cookie lives longer than a piece is sold.
        visitor.keep(sold)
    return _page(_saved(), {})


def change() -> Answer:
    """POST /basket: set the quantities that are sent; `remove` names a SKU to take out.

    What is not sent stays, for it came into the basket after this page was made. Who has begun to fill in the order
    form gets it back as it was; for everybody else a reload repeats nothing.
    """
    form = request.form.to_dict()
    if "remove" in form:
        form[QUANTITY + form["remove"]] = "0"
    lines = _lines(form)
    mend = {
        QUANTITY + line.sku: f"The quantity must be from 0 to {MAX_QUANTITY}."
        for line in lines
        if not 0 <= line.quantity <= MAX_QUANTITY
    }
    good = {line.sku: line.quantity for line in lines if QUANTITY + line.sku not in mend}
    visitor.keep(_sold({**visitor.basket(), **good}))
    if mend:
        return _page({**_saved(), **form}, mend), HTTPStatus.UNPROCESSABLE_ENTITY
    if any(form.get(name) for name in TYPED):
        return _page({**_saved(), **form}, {})
    return redirect(url_for("shop.basket"), HTTPStatus.SEE_OTHER)


def place() -> Answer:
    """POST /orders: to the order's page, or back to the form with what is to be mended.

    The form carries the basket's number, so that a double click, a reload or a second tab orders once.
    """
    form = request.form
    lines = [line for line in _lines(form) if line.quantity]
    name, email = (form.get(field, "") for field in TYPED)
    try:
        placed, _ = order(name=name, email=email, lines=lines, request_key=_request_key(name, email, lines))
    except InvalidOrder as error:
        mend = {_field(each.field, lines): each.message for each in error.problems}
        return _page(form, mend), HTTPStatus.UNPROCESSABLE_ENTITY
    visitor.ordered(placed.id, [line.sku for line in lines])
    return redirect(url_for("shop.order", order_id=placed.id), HTTPStatus.SEE_OTHER)


def _sold(quantities: Mapping[str, int]) -> dict[str, int]:
    """Those of pieces that the catalogue has."""
    with session(read_only=True) as own:
        known = {product.sku for product in catalogue(own)}
    return {sku: quantity for sku, quantity in quantities.items() if sku in known}


def _saved() -> dict[str, str]:
    """The basket as fields of the form."""
    return {QUANTITY + sku: str(quantity) for sku, quantity in visitor.basket().items()}


def _page(filled: Mapping[str, str], mend: Mapping[str, str]) -> str:
    """The page with these values in its fields. mend: what is wrong, by field."""
    # A number that can't be meant counts as none, until it is mended.
    wanted = {line.sku: max(0, min(line.quantity, MAX_QUANTITY)) for line in _lines(filled) if line.quantity}
    with session(read_only=True) as own:
        products = [product for product in catalogue(own) if product.sku in wanted]
    return render_template(
        "basket.html",
        products=products,
        wanted=wanted,
        count=sum(wanted[product.sku] for product in products),
        total_cents=sum(wanted[product.sku] * product.price_cents for product in products),
        names={QUANTITY + product.sku: product.name for product in products},
        filled={"request": visitor.number(), **filled},
        mend=mend,
        quantity=QUANTITY,
        most={"quantity": MAX_QUANTITY, "name": MAX_NAME, "email": MAX_EMAIL},
    )


def _lines(form: Mapping[str, str]) -> list[Line]:
    fields = [(name.removeprefix(QUANTITY), value) for name, value in form.items() if name.startswith(QUANTITY)]
    return [Line(sku, _quantity(value)) for sku, value in fields]


def _quantity(value: str) -> int:
    """The number, 0 for nothing; -1, which no order takes, for anything else."""
    value = value.strip() or "0"
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1


def _field(field: str, lines: list[Line]) -> str:
    """The form's name for a field of the order: `lines.0.quantity` is `quantity.BOWL-TEA`."""
    first, *rest = field.split(".")
    return QUANTITY + lines[int(rest[0])].sku if first == "lines" and rest else field


def _request_key(name: str, email: str, lines: list[Line]) -> str | None:
    """Of the basket's number and its content: who goes back and changes something orders anew."""
    number = request.form.get("request")
    if not number:
        return None
    content = repr((number, name, email, lines))
    return "shop:" + hashlib.sha256(content.encode(errors="replace")).hexdigest()
