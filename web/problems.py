"""Every error as an answer: problem details (RFC 9457) for programs, a page for people."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, json, render_template, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from celadon import errors
from celadon.ledger.db import is_away
from services.orders.errors import InvalidOrder, OrderNotFound, Problem, RequestReused

log = structlog.get_logger()

RETRY_AFTER_S = 2  # A restarting database is back within seconds; a client that hurries more only adds load.

# What each error is to a client: status, and the last part of the problem's type.
KNOWN: dict[type[Exception], tuple[int, str]] = {
    InvalidOrder: (422, "invalid-request"),
    RequestReused: (422, "request-key-reused"),
    OrderNotFound: (404, "no-such-order"),
    errors.InvalidPayload: (422, "invalid-request"),
    errors.PayloadTooLarge: (413, "too-large"),
    errors.KeyConflict: (422, "request-key-reused"),
    errors.LedgerUnavailable: (503, "ledger-unavailable"),
    errors.Refused: (503, "broker-unavailable"),
}


def install(app: Flask) -> None:
    for kind, (status, slug) in KNOWN.items():
        app.register_error_handler(kind, _known(status, slug))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DBAPIError, _database)
    app.register_error_handler(PoolTimeout, _database)
    app.register_error_handler(Exception, _unforeseen)


def problem(status: int, detail: str, slug: str | None = None, **more: Any) -> Response:
    """An error answer. `more` becomes members of the problem, such as `errors`; None is left out."""
    title = HTTPStatus(status).phrase
    if _for_people():
        response = Response(render_template("error.html", status=status, title=title, detail=detail), status)
    else:
        body = {
            "type": f"urn:celadon:problem:{slug}" if slug else "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            **{name: value for name, value in more.items() if value is not None},
        }
        response = Response(json.dumps(body), status, content_type="application/problem+json")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def invalid(problems: list[Problem]) -> Response:
    """422, with every field to mend."""
    return _known(422, "invalid-request")(InvalidOrder(problems))


def _for_people() -> bool:
    return not request.path.startswith(("/api/", "/health", "/ready"))


def _known(status: int, slug: str) -> Callable[[Exception], Response]:
    def answer(error: Exception) -> Response:
        problems = [each.as_dict() for each in getattr(error, "problems", []) if isinstance(each, Problem)]
        return problem(status, str(error), slug, errors=problems or None, job_id=getattr(error, "job_id", None))

    return answer


def _http(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():  # Allow, for 405, and the like.
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _database(error: DBAPIError | PoolTimeout) -> Response:
    if isinstance(error, DBAPIError) and not is_away(error):
        return _unforeseen(error)
    log.warning("ledger_unavailable", path=request.path, error=str(error))
    return problem(503, "The ledger can't be reached; nothing was accepted.", "ledger-unavailable")


def _unforeseen(error: Exception) -> Response:
    log.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return problem(500, "Something went wrong on our side; it has been noted.")
