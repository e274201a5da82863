"""What the API and the shop have in common: placing an order, and telling how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import url_for

from celadon import Receipt, find, step_views, submit
from celadon.jobs import Submitted
from celadon.ledger import session
from celadon.redis import get_redis
from celadon.states import State
from services.orders.flags import Flags
from services.orders.place import Line, place
from services.orders.view import OrderView, load, view_of


def order(*, name: str, email: str, lines: Sequence[Line], request_key: str | None) -> tuple[OrderView, Receipt]:
    """Store an order and submit its job, both or neither.

    Raises:
        InvalidOrder, RequestReused: nothing was stored.
        LedgerUnavailable: it is safe to repeat the request with the same key.
    """
    with session() as own:
        placed, new = place(own, name=name, email=email, lines=lines, request_key=request_key)
        if new:
            payload, key = {"order_id": placed.id}, f"order:{placed.id}"
            receipt = submit("orders.process", payload, key=key, confirm=True, session=own)
            placed.job_id = receipt.job_id
        else:
            receipt = Receipt(job_id=placed.job_id or "", outcome=Submitted.DUPLICATE, reason="repeated request")
        view = view_of(placed, own)
        own.commit()  # Completes the receipt.
    return view, receipt


def tell(order_id: str) -> dict[str, Any]:
    """An order with each step's state, its job and its invoice, JSON-ready. Raises OrderNotFound."""
    with session(read_only=True) as own:
        view = load(own, order_id)
    Flags(get_redis()).mend(view)
    job = find(view.job_id) if view.job_id else None
    # A finished job's row is dropped one day; the marks of its steps stay with the order.
    steps = {step.name: step for step in job.steps} if job else step_views(f"order:{order_id}")
    told = view.as_dict(steps)
    if view.status != "complete" and job and job.state in (State.DEAD, State.CANCELLED):
        told["status"] = "failed"
    told["finished"] = told["status"] != "processing"
    told["job"] = job and {
        "id": job.id,
        "href": url_for("api.job", job_id=job.id),
        "state": job.state,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "next_try": job.as_dict()["run_at"] if job.state is State.SCHEDULED else None,
    }
    told["invoice"] = view.invoice_sha256 and {
        "number": view.invoice_number,
        "href": url_for("shop.invoice", order_id=order_id),
        "sha256": view.invoice_sha256,
    }
    return told
