"""What every request and answer goes through: no cross-site posts, and headers that hold a browser back.

There is no token in forms: browsers say themselves where a request comes from, and can't be made to lie about
it. This is the check of Go's `http.CrossOriginProtection`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

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


def install(app: Flask) -> None:
    app.before_request(refuse_cross_site)
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


def add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
