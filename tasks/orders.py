"""The jobs about orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy.orm import Session

from celadon import Steps, job
from celadon.ledger import marks, session
from celadon.redis import get_redis
from celadon.settings import settings
from services.mail import MailRefused, SmtpMailer
from services.orders import retention, workflow
from services.orders.errors import OrderNotFound
from services.orders.flags import Flags

read = partial(session, read_only=True)


@job(
    "orders.process",
    queue="default",
    attempts=5,
    backoff=timedelta(seconds=5),
    keep=100,
    alert_after=3,
    fallback="inline",
    permanent=(OrderNotFound, MailRefused),
    scope="order:{order_id}",
)
def process(order_id: str, steps: Steps) -> dict[str, object]:
    """Take the stock, send the confirmation, make the invoice."""
    mailer = SmtpMailer(settings().smtp_url, settings().mail_from)
    return workflow.process(order_id, steps=steps, read=read, mailer=mailer, flags=Flags(get_redis()))


@job("orders.rebuild_flags")
def rebuild_flags() -> dict[str, int]:
    """Compare the flags of recent orders in Redis with the database, and mend those that are missing or wrong."""
    return Flags(get_redis()).reconcile(read)


@job("orders.retention", queue="data_sync", permanent=(ValueError,))
def retain(keep_days: int, invoice_days: int, steps: Steps) -> dict[str, int]:
    """Remove customers from orders that were complete long ago, and at last the orders."""
    return retention.retain(keep_days=keep_days, invoice_days=invoice_days, steps=steps, also=forget_steps)


def forget_steps(own: Session, order_ids: Sequence[str]) -> None:
    """What the ledger keeps of the orders' steps, with what mail servers said about their customers."""
    marks.forget(own, [f"order:{order_id}" for order_id in order_ids])
