"""Sending alerts: mail to the administrator, from rows that the ledger already has."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from celadon import logs
from celadon.ledger import alerts
from celadon.settings import settings

log = logs.get("celadon.alerts")

SMTP_TIMEOUT_S = 10
FIRST_RETRY_S, LAST_RETRY_S = 5, 600


def send_due() -> int:
    """Send what is unsent; how many were sent. A mail that can't be sent is tried again, ever less often."""
    sent = 0
    for alert in alerts.unsent():
        if not alerts.take(alert.id, for_s=SMTP_TIMEOUT_S * 3):
            continue
        if not settings().admin_email:
            alerts.mark_sent(alert.id, note="nobody to tell: ADMIN_EMAIL is empty")
            continue
        try:
            _mail(alert.id, alert.subject, alert.body)
        except (OSError, smtplib.SMTPException) as error:
            again = min(FIRST_RETRY_S * 2**alert.tries, LAST_RETRY_S)
            alerts.mark_failed(alert.id, f"{type(error).__name__}: {error}", again)
            log.warning("alert.not_sent", alert_id=alert.id, error=str(error), again_in_s=again)
        else:
            alerts.mark_sent(alert.id)
            log.info("alert.sent", alert_id=alert.id, job_id=alert.job_id, kind=alert.kind)
            sent += 1
    return sent


def _mail(alert_id: str, subject: str, body: str) -> None:
    message = EmailMessage()
    message["From"] = settings().mail_from
    message["To"] = settings().admin_email
    message["Subject"] = f"[celadon] {subject}".replace("\n", " ")
    # The same for every try, so that a mail that was sent twice is known as one.
    message["Message-ID"] = f"<alert-{alert_id}@celadon>"
    message.set_content(body)
    url = urlsplit(settings().smtp_url)
    host, secure = url.hostname or "127.0.0.1", url.scheme == "smtps"
    server: smtplib.SMTP
    if secure:
        context = ssl.create_default_context()
        server = smtplib.SMTP_SSL(host, url.port or 465, timeout=SMTP_TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=SMTP_TIMEOUT_S)
    with server:
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message)
