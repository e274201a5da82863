"""What every request and answer goes through: no forged posts, and headers that hold a browser back.

Two walls against forged posts. Browsers say themselves where a request comes from and can't be made to lie about it:
the first is the check of Go's `http.CrossOriginProtection`. Behind it every form carries a token that only our own
pages know, for browsers too old to say anything. The API takes no cookies, so nothing can be forged there.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Flask, Response, abort, render_template, request
from flask_wtf.csrf import CSRFError, CSRFProtect

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
TOKEN_FOR = timedelta(days=1)  # A form left open overnight can still be sent; what is older can be sent once more.

HEADERS = {
    # Only files of our own; no inline script or style.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # The address of an order is the key to it: no other site may learn it from a link.
    "Referrer-Policy": "same-origin",
    # Orders are nobody else's; static files say otherwise themselves.
    "Cache-Control": "no-store",
}

tokens = CSRFProtect()


def install(app: Flask) -> None:
    app.before_request(refuse_cross_site)
    app.config.update(
        WTF_CSRF_TIME_LIMIT=int(TOKEN_FOR.total_seconds()),
        WTF_CSRF_SSL_STRICT=False,  # It asks for a Referer, which browsers may withhold; the first wall needs none.
    )
    tokens.init_app(app)
    app.register_error_handler(CSRFError, ask_again)
    app.after_request(add_headers)


def refuse_cross_site() -> None:
    """403 for a request that changes something and was made by a page of another site."""
    if request.method in SAFE:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is None:
        # A program, an old browser, or a page without HTTPS. Browsers send Origin with every post.
        origin = request.headers.get("Origin")
        allowed = origin is None or urlsplit(origin).netloc == request.host
    else:
        allowed = site in ("same-origin", "none")
    if not allowed:
        abort(403, "This request was made by a page of another site.")


def ask_again(error: CSRFError) -> tuple[str, int]:
    """A token that is missing, too old, or of another cookie: 400 with all that was filled in, to be sent once more."""
    return render_template("again.html"), 400


def add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
