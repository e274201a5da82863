"""The jobs that report."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from celadon import Steps, job
from celadon.settings import settings
from services.mail import MailRefused, SmtpMailer
from services.reports import sales as reports


@job("reports.sales", queue="data_sync", permanent=(MailRefused, ValueError))
def sales(timezone: str, steps: Steps, day: date | None = None) -> dict[str, dict[str, object]]:
    """Report on the orders of each day that has no report yet, or of one day."""
    mailer = SmtpMailer(settings().smtp_url, settings().mail_from)
    return reports.report(zone=ZoneInfo(timezone), day=day, steps=steps, mailer=mailer, to=settings().admin_email)
