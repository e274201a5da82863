"""The jobs about orders."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from celadon import Steps, job
from celadon.ledger import session
from celadon.redis import get_redis
from celadon.settings import settings
from services.orders import workflow
from services.orders.errors import MailRefused, OrderNotFound
from services.orders.flags import Flags
from services.orders.mail import SmtpMailer

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
def rebuild_flags() -> int:
    """Write the flags of recent orders again, should Redis have lost them."""
    with read() as own:
        return Flags(get_redis()).rebuild(own)
