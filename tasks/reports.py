"""The jobs that report."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from celadon import Steps, job
from celadon.settings import settings
from services.mail import MailRefused, SmtpMailer
from services.reports import sales as reports


# A mail server that is away for minutes is no reason to wait for the next night.
@job("reports.sales", queue="data_sync", backoff=timedelta(minutes=1), permanent=(MailRefused, ValueError))
def sales(timezone: str, steps: Steps, day: date | None = None) -> dict[str, dict[str, object]]:
    """Report on the orders of each day that has no report yet, or of one day."""
    mailer = SmtpMailer(settings().smtp_url, settings().mail_from)
    return reports.report(zone=ZoneInfo(timezone), day=day, steps=steps, mailer=mailer, to=settings().admin_email)
