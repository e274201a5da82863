"""What the shop does not keep for ever: its customers' names and addresses, and at last the orders themselves.

An invoice shows the customer's name and has to be kept as long as the law says, so it outlives the name on the order.
Sales reports name nobody and are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from services.orders.model import FLAGS, Invoice, Order, OrderLine
from services.steps import Steps

BATCH = 500  # Orders per step: a short transaction, so that nobody waits long for its locks.

Also = Callable[[Session, Sequence[str]], None]


def retain(*, keep_days: int, invoice_days: int, steps: Steps, also: Also) -> dict[str, int]:
    """Forget and remove what is old, in small transactions; return how many orders.

    Args:
        keep_days: an order that has been complete for so many days loses its customer's name and address; 0: never.
            One that never got complete keeps them: somebody has to see to it.
        invoice_days: an order placed so many days ago is removed with its invoice, complete or not; 0: never.
        also: called in each transaction with the ids of its orders, to remove what others keep about them.

    Raises:
        ValueError: the invoices would be removed before the names are.
    """
    if keep_days < 0 or invoice_days < 0 or 0 < invoice_days < keep_days:
        raise ValueError(
            f"keep_days={keep_days}, invoice_days={invoice_days}: an order is forgotten first and removed later; "
            "give invoice_days at least keep_days, or 0 for never"
        )
    return {
        "removed": _in_batches("remove", remove, invoice_days, steps, also),
        "forgotten": _in_batches("forget", forget, keep_days, steps, also),
    }


def _in_batches(name: str, do: Callable[[Session, datetime, Also], int], days: int, steps: Steps, also: Also) -> int:
    before, number, total, done = datetime.now(UTC) - timedelta(days=days), 0, 0, BATCH
    while days and done == BATCH:
        number += 1
        done = steps.run(f"{name} {number}", do, before, also)
        total += done
    return total


def forget(session: Session, before: datetime, also: Also) -> int:
    """Take the customer out of a batch of orders that were complete before that time; return how many."""
    complete = [getattr(Order, f"{flag}_at") < before for flag in FLAGS]
    old = session.execute(
        select(Order.number, Order.id)
        .where(Order.forgotten_at.is_(None), Order.created_at < before, *complete)
        .order_by(Order.created_at)
        .limit(BATCH)
    ).all()
    session.execute(
        update(Order)
        .where(Order.number.in_([order.number for order in old]))
        .values(customer_name="", email="", request_key=None, forgotten_at=datetime.now(UTC)),
        execution_options={"synchronize_session": False},
    )
    also(session, [order.id for order in old])
    return len(old)


def remove(session: Session, before: datetime, also: Also) -> int:
    """Remove a batch of orders that were placed before that time, with their invoices; return how many."""
    old = session.execute(
        select(Order.number, Order.id).where(Order.created_at < before).order_by(Order.created_at).limit(BATCH)
    ).all()
    numbers = [order.number for order in old]
    for table, column in ((Invoice, Invoice.order_number), (OrderLine, OrderLine.order_number), (Order, Order.number)):
        session.execute(delete(table).where(column.in_(numbers)), execution_options={"synchronize_session": False})
    also(session, [order.id for order in old])
    return len(old)
