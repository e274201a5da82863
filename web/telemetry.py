"""What is told of each request: one log line and its metrics; and the id by which all of its lines are found."""

from __future__ import annotations

import re
import time
from functools import partial
from http import HTTPMethod
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request

from celadon import telemetry

HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # What may be written into our logs by whoever asks.
NOWHERE = "(none)"  # The route of what has none: paths are chosen by whoever asks.


def install(app: Flask) -> None:
    """Before all other parts, so that what they refuse is told too."""
    app.before_request(begin)
    app.after_request(end)


def begin() -> None:
    """Bind the id that the request came with, or a new one, to every line logged until its end."""
    g.began = time.monotonic()
    given = request.headers.get(HEADER, "")
    g.request_id = given if SANE.fullmatch(given) else uuid4().hex
    structlog.contextvars.clear_contextvars()  # The one before may have been left without a word.
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    route = request.url_rule.rule if request.url_rule is not None else NOWHERE
    response.call_on_close(partial(_told, _method(), route, response.status_code, g.began, g.request_id))
    return response


def _told(method: str, route: str, status: int, began: float, request_id: str) -> None:
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        telemetry.answered(method, route, status, time.monotonic() - began)
    structlog.contextvars.clear_contextvars()  # What the thread says of its next client is not this one's.


def _method() -> str:
    return request.method if request.method in HTTPMethod.__members__ else "OTHER"
