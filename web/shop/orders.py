"""An order's page, live; the orders of this browser; the invoice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Response, abort, jsonify, render_template

from celadon.ledger import session
from celadon.redis import get_redis
from services.orders import invoice as invoices
from services.orders.flags import Flags
from web.ordering import know, statuses
from web.shop import visitor
from web.shop.progress import WORDS, progress
from web.streams import stream

RELOADS_FOR = timedelta(minutes=1)  # By itself, without scripts: a page that does so for ever can't be read at ease.


def history() -> str:
    """GET /orders: the orders of this browser, the newest first."""
    return render_template("orders.html", orders=statuses(visitor.orders()), most=visitor.MAX_ORDERS)


def show(order_id: UUID) -> str:
    """GET /orders/{id}"""
    known = know(str(order_id))
    Flags(get_redis()).mend(known.order)
    told = progress(known)
    return render_template(
        "order.html",
        order=known.order,
        progress=told,
        words=WORDS,
        mine=known.order.id in visitor.orders(),
        reloads=not told["finished"] and datetime.now(UTC) - known.order.created_at < RELOADS_FOR,
    )


def state(order_id: UUID) -> Response:
    """GET /orders/{id}.json: the progress, for a page that asks again and again."""
    return jsonify(progress(know(str(order_id))))


def events(order_id: UUID) -> Response:
    """GET /orders/{id}/events: the progress as server-sent events, `change` by `change` until the `end`."""

    def look() -> tuple[dict[str, object], bool]:
        now = progress(know(str(order_id)))
        return now, now["finished"]

    return stream(look)


def invoice(order_id: UUID) -> Response:
    """GET /orders/{id}/invoice.pdf"""
    with session(read_only=True) as own:
        found = invoices.stored(own, str(order_id))
        if found is None:
            abort(404, "The invoice of this order is not written yet.")
        name, pdf = f"celadon-invoice-{found.number}.pdf", found.pdf
    return Response(pdf, mimetype="application/pdf", headers={"Content-Disposition": f'attachment; filename="{name}"'})
