"""The jobs about the stock."""

from __future__ import annotations

from celadon import Steps, job
from celadon.settings import settings
from services.mail import MailRefused, SmtpMailer
from services.orders import reorder


@job("stock.check", permanent=(MailRefused,))
def check(steps: Steps) -> dict[str, int]:
    """Tell the administrator which products are to be ordered, once each time that they get short."""
    mailer = SmtpMailer(settings().smtp_url, settings().mail_from)
    return reorder.check(steps=steps, mailer=mailer, to=settings().admin_email)
