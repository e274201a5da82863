"""What a customer is told about an order while it is worked on: words, and no error but that of stock."""

from __future__ import annotations

from typing import Any

from celadon.states import State
from services.orders.errors import OutOfStock
from services.orders.view import OrderView, iso
from web.ordering import Known

# What each step says in each of its states. `failed` is tried again; `given_up` is not, and somebody is told.
WORDS = {
    "inventory": {
        "title": "Stock",
        "waiting": "Waiting for its turn",
        "running": "Taking your pieces from the shelf",
        "done": "Taken from the shelf and reserved for you",
        "failed": "Not everything is on the shelf; we are trying again",
        "given_up": "Not everything is on the shelf",
    },
    "email": {
        "title": "Confirmation",
        "waiting": "Waiting for its turn",
        "running": "Writing to {email}",
        "done": "Sent to {email}",
        "failed": "The mail did not go out; we are trying again",
        "given_up": "The mail to {email} was not accepted",
    },
    "invoice": {
        "title": "Invoice",
        "waiting": "Waiting for its turn",
        "running": "Being written",
        "done": "Ready to download",
        "failed": "Could not be written; we are trying again",
        "given_up": "Could not be written",
    },
}
NOT_DONE = "Not done"  # A step that was not reached when the order was given up.
STATUS = {
    "processing": "We are working on your order. You need not wait here.",
    "waiting": "Your order is waiting for its turn and begins by itself. You need not wait here.",
    "complete": "Everything is done. Thank you!",
    "failed": "Something needs our attention. We have been told and will see to it.",
}


def progress(known: Known) -> dict[str, Any]:
    """The order's progress, JSON-ready: what its page shows, and what the page is told of changes."""
    job, status = known.job, known.status
    steps = known.order.processing(known.steps)
    return {
        "status": status,
        "says": STATUS["waiting" if status == "processing" and job and job.state is State.WAITING else status],
        "finished": status != "processing",
        "steps": {name: _step(name, step, known) for name, step in steps.items()},
        "next_try": iso(job.run_at) if job and job.state is State.SCHEDULED else None,
        "invoice": known.order.invoice_sha256 is not None,
    }


def _step(name: str, step: dict[str, Any], known: Known) -> dict[str, Any]:
    state, words = step["state"], WORDS[name]
    if state == "done" or known.status != "failed":
        says = words[state]
    else:
        says = words["given_up"] if state == "failed" else NOT_DONE
    return {
        "state": state,
        "says": says.format(email=known.order.email or "you"),
        "reason": _reason(step["last_error"] or "", known.order) if state == "failed" else None,
        "at": step["done_at"] or step["last_attempt"],
    }


def _reason(error: str, order: OrderView) -> str | None:
    """Only stock is the customer's business, and by the piece's name; other errors name our servers."""
    kind, _, message = error.partition(": ")
    if kind != OutOfStock.__name__:
        return None
    sku = message.partition(" ")[0]
    names = {line.sku: line.name for line in order.lines}
    return names.get(sku, sku) + message.removeprefix(sku)
