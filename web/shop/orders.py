"""An order's page, and its invoice."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from flask import Response, abort, render_template

from celadon.ledger import session
from services.orders import invoice as invoices
from web.ordering import tell

# What each step says in each of its states.
WORDS = {
    "inventory": {
        "title": "Stock",
        "waiting": "Waiting for its turn",
        "running": "Taking your pieces from the shelf",
        "done": "Taken from the shelf and reserved for you",
        "failed": "Not everything is on the shelf; we are trying again",
    },
    "email": {
        "title": "Confirmation",
        "waiting": "Waiting for its turn",
        "running": "Writing to you",
        "done": "Sent to {email}",
        "failed": "The mail did not go out; we are trying again",
    },
    "invoice": {
        "title": "Invoice",
        "waiting": "Waiting for its turn",
        "running": "Being written",
        "done": "Ready to download",
        "failed": "Could not be written; we are trying again",
    },
}
STATUS = {
    "processing": "We are working on your order. You need not wait here.",
    "complete": "Everything is done. Thank you!",
    "failed": "Something needs our attention. We have been told and will write to you.",
}


def show(order_id: UUID) -> str:
    """GET /orders/{id}"""
    order = tell(str(order_id))
    words = {
        step: {state: text.format(email=order["customer"]["email"]) for state, text in texts.items()}
        for step, texts in WORDS.items()
    }
    created = datetime.fromisoformat(order["created_at"])
    return render_template("order.html", order=order, words=words, status=STATUS, created=created)


def invoice(order_id: UUID) -> Response:
    """GET /orders/{id}/invoice.pdf"""
    with session(read_only=True) as own:
        found = invoices.stored(own, str(order_id))
        if found is None:
            abort(404, "The invoice of this order is not written yet.")
        name, pdf = f"celadon-invoice-{found.number}.pdf", found.pdf
    return Response(pdf, mimetype="application/pdf", headers={"Content-Disposition": f'attachment; filename="{name}"'})
