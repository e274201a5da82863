"""The order workflow: stock, mail, invoice. Each step is done once; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from services.mail import Mailer
from services.orders import invoice, mail, stock
from services.orders.flags import Flags
from services.orders.view import STEPS, load
from services.steps import Steps


def process(
    order_id: str,
    *,
    steps: Steps,
    read: Callable[[], AbstractContextManager[Session]],
    mailer: Mailer,
    flags: Flags,
) -> dict[str, object]:
    """Work through an order; return what each step returned.

    Args:
        read: opens a session for reading, on the database that the steps write to.

    Raises:
        OrderNotFound: trying again is useless.
        Exception: whatever `steps.independent` makes of the steps that failed.
    """
    with read() as session:
        order = load(session, order_id)
    results: dict[str, Any] = {}

    def run(name: str, fn: Callable[..., Any], *args: Any, **how: Any) -> None:
        results[name] = steps.run(name, fn, *args, **how)
        if results[name] is not None:  # Its commit is behind us: now Redis may know.
            flags.raised(order_id, {STEPS[name]: results[name]["at"]})

    with steps.independent():
        run("inventory", stock.take, order_id)
        noted = partial(mail.record, order_id=order_id)
        run("email", mail.confirm, order, mailer, outside=True, record=noted)
        run("invoice", invoice.issue, order_id)
    return results
