"""The catalogue: every piece, and a button that puts one into the basket."""

from __future__ import annotations

from http import HTTPStatus

from flask import abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from celadon.ledger import session
from services.orders.model import Product
from services.orders.place import MAX_LINES
from services.orders.view import catalogue
from web.shop import visitor


def show() -> str:
    """GET /"""
    with session(read_only=True) as own:
        products = catalogue(own)
    return render_template("catalogue.html", products=products, basket=visitor.basket())


def add() -> Response:
    """POST /basket/add: one more of a piece, and back to where it stands in the catalogue."""
    sku = request.form.get("sku", "")
    with session(read_only=True) as own:
        if own.get(Product, sku) is None:
            abort(404, "There is no such piece.")
    if not visitor.add(sku):
        abort(422, f"A basket holds {MAX_LINES} different pieces; order these first, or take one out.")
    return redirect(url_for("shop.catalogue", _anchor=sku), HTTPStatus.SEE_OTHER)
