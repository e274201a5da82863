"""What the API and the shop have in common: placing an order, and knowing how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flask import url_for

from celadon import JobView, Receipt, StepView, find, step_views, submit
from celadon.errors import LedgerUnavailable
from celadon.jobs import Submitted
from celadon.ledger import session
from celadon.ledger.db import translated
from celadon.redis import get_redis
from celadon.states import State
from services.orders.flags import Flags
from services.orders.place import Line, place
from services.orders.view import OrderView, load, load_many, view_of

Status = Literal["processing", "complete", "failed"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """An order, its job while the ledger keeps it, and the marks of its steps."""

    order: OrderView
    job: JobView | None
    steps: Mapping[str, StepView]

    @property
    def status(self) -> Status:
        return _status(self.order, self.job)


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
        try:
            with translated():
                own.commit()  # Completes the receipt.
        except LedgerUnavailable as error:
            error.job_id = receipt.job_id  # It may have happened, and only its answer been lost.
            raise
    return view, receipt


def know(order_id: str) -> Known:
    """What the ledger knows now. Raises OrderNotFound, LedgerUnavailable."""
    with translated(), session(read_only=True) as own:
        view = load(own, order_id)
    job = find(view.job_id) if view.job_id else None
    if (job is None or job.finished) and view.status != "complete":
        # What the job did last may be newer than our look at the order; from now on it does nothing more.
        with translated(), session(read_only=True) as own:
            view = load(own, order_id)
    # A finished job's row is dropped one day; the marks of its steps stay with the order.
    steps = {step.name: step for step in job.steps} if job else step_views(f"order:{order_id}")
    return Known(order=view, job=job, steps=steps)


def statuses(order_ids: Sequence[str]) -> list[tuple[OrderView, Status]]:
    """Those of the orders that exist, in the order asked for. Raises LedgerUnavailable."""
    with translated(), session(read_only=True) as own:
        views = load_many(own, order_ids)
    # Of a complete order nobody asks for the job.
    return [(v, _status(v, find(v.job_id) if v.job_id and v.status != "complete" else None)) for v in views]


def tell(order_id: str) -> dict[str, Any]:
    """An order with each step's state, its job and its invoice, JSON-ready. Raises as `know` does."""
    known = know(order_id)
    view, job = known.order, known.job
    Flags(get_redis()).mend(view)
    told = view.as_dict(known.steps)
    told["status"] = known.status
    told["finished"] = known.status != "processing"
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


def _status(order: OrderView, job: JobView | None) -> Status:
    # A job that has left the ledger does nothing more either; a complete order does not need it.
    given_up = order.job_id is not None and (job is None or job.state in (State.DEAD, State.CANCELLED))
    return "failed" if given_up and order.status != "complete" else order.status
