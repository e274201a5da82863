"""The session cookie: signed, for this site and no script, for 30 days, and only over HTTPS where there is HTTPS."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from celadon.settings import settings

KEEP = timedelta(days=30)  # After its last change: who only looks does not prolong it.


def install(app: Flask) -> None:
    # `celadon web` has made a key for all its processes; another server's only process makes its own.
    app.secret_key = settings().secret_key or secrets.token_hex(32)
    app.config.update(
        SESSION_COOKIE_NAME="celadon",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=KEEP,
    )
    app.session_interface = Cookies()


class Cookies(SecureCookieSessionInterface):
    """Flask's own, but for when a cookie ends and when it is secure.

    It is sent only when it has changed, so that an answer to who only looks never takes back a change that it crossed.
    Of two changes that cross, in two tabs, that of the later answer counts.
    """

    def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime:
        return datetime.now(UTC) + KEEP

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the browser speaks HTTPS, as far as anybody says so.

        A proxy that ends TLS speaks HTTP to us, so the request alone does not tell. The proxy's word and the browser's
        own are believed from anybody: who lies makes their own cookie stricter, and gains nothing.
        """
        proxy, origin = request.headers.get("X-Forwarded-Proto", ""), request.headers.get("Origin", "")
        return request.is_secure or proxy.startswith("https") or origin.startswith("https:")
