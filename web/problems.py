"""Every error as an answer: problem details (RFC 9457) for programs, a page for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, jsonify, render_template, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from celadon import errors
from celadon.ledger.db import is_away
from services.orders.errors import InvalidOrder, OrderNotFound, Problem, RequestReused

log = structlog.get_logger()

# Said of every failure of the ledger, which has names of servers in its own words. A COMMIT whose answer was lost may
# have happened, so it does not say that nothing was accepted.
AWAY = (
    "The ledger can't be reached; nothing is known to be accepted. Repeat the request with the same Idempotency-Key, "
    "or look for the job whose `job_id` is given."
)
RETRY_AFTER_S = 2  # A restarting database is back within seconds; a client that hurries more only adds load.

# What each error is to a client: status, and the last part of the problem's type.
KNOWN: dict[type[Exception], tuple[int, str]] = {
    InvalidOrder: (422, "invalid-request"),
    RequestReused: (422, "request-key-reused"),
    OrderNotFound: (404, "no-such-order"),
    errors.UnknownJob: (422, "unknown-job"),
    errors.UnknownQueue: (422, "unknown-queue"),
    errors.InvalidPayload: (422, "invalid-request"),
    errors.InvalidOption: (422, "invalid-request"),
    errors.PayloadTooLarge: (413, "too-large"),
    errors.KeyConflict: (422, "request-key-reused"),
    errors.UnknownJobId: (404, "no-such-job"),
    errors.UnknownSchedule: (404, "no-such-schedule"),
    errors.NotAllowed: (409, "not-in-this-state"),
    errors.LedgerUnavailable: (503, "ledger-unavailable"),
    errors.Refused: (503, "broker-unavailable"),
}
# Options of `submit`, `list_jobs` and `schedules.add` under the names that requests give them.
_FIELDS = {"delay": "delay_s", "expires_in": "expires_in_s", "states": "state", "every": "every_s"}


def install(app: Flask) -> None:
    for kind in KNOWN:
        app.register_error_handler(kind, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DBAPIError, _database)
    app.register_error_handler(PoolTimeout, _database)
    app.register_error_handler(Exception, _unforeseen)


def problem(status: int, detail: str, slug: str | None = None, **more: Any) -> Response:
    """An error answer. `more` becomes members of the problem, such as `errors`; what is empty is left out."""
    return _answer(as_dict(status, detail, slug, **more))


def as_dict(status: int, detail: str, slug: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a problem."""
    return {
        "type": f"urn:celadon:problem:{slug}" if slug else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **{name: value for name, value in more.items() if value},
    }


def of_error(error: Exception) -> dict[str, Any]:
    """The problem that a known error is."""
    status, slug = next(KNOWN[kind] for kind in type(error).__mro__ if kind in KNOWN)
    detail = AWAY if isinstance(error, errors.LedgerUnavailable) else str(error)
    return as_dict(status, detail, slug, errors=_to_mend(error), job_id=getattr(error, "job_id", None))


def invalid(problems: list[Problem]) -> Response:
    """422, with every field to mend."""
    return _known(InvalidOrder(problems))


def not_found(error: errors.UnknownQueue | errors.UnknownJob) -> Response:
    """404 for a misspelt name that stands in the address, not in the body."""
    told = of_error(error)
    return problem(404, told["detail"], told["type"].rpartition(":")[2])


def _to_mend(error: Exception) -> list[dict[str, str]]:
    """The fields of the request to mend, each with what is wrong."""
    if isinstance(error, InvalidOrder):
        return [each.as_dict() for each in error.problems]
    if isinstance(error, errors.InvalidPayload):
        found = [each.partition(": ") for each in error.problems or [f"payload: {error}"]]
        return [
            {"field": field if field == "payload" else f"payload.{field}", "message": message}
            for field, _, message in found
        ]
    field = None
    if isinstance(error, errors.UnknownJob):
        field = "name"
    elif isinstance(error, errors.UnknownQueue):
        field = "queue"
    elif isinstance(error, errors.InvalidOption) and error.option:
        field = _FIELDS.get(error.option, error.option)
    return [{"field": field, "message": str(error)}] if field else []


def _answer(told: dict[str, Any]) -> Response:
    status = told["status"]
    if _for_people():
        page = render_template("error.html", status=status, title=told["title"], detail=told["detail"])
        response = Response(page, status)
    else:
        response = jsonify(told)
        response.status_code, response.content_type = status, "application/problem+json"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _for_people() -> bool:
    return not request.path.startswith(("/api/", "/health", "/alive", "/ready"))


def _known(error: Exception) -> Response:
    if isinstance(error, errors.LedgerUnavailable):
        log.warning("ledger_unavailable", error=str(error))
    return _answer(of_error(error))


def _http(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():  # Allow, for 405, and the like.
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _database(error: DBAPIError | PoolTimeout) -> Response:
    if isinstance(error, DBAPIError) and not is_away(error):
        return _unforeseen(error)
    log.warning("ledger_unavailable", error=str(error))
    return problem(503, AWAY, "ledger-unavailable")


def _unforeseen(error: Exception) -> Response:
    log.error("request_failed", exc_info=error)
    return problem(500, "Something went wrong on our side; it has been noted.")
