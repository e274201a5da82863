"""What the API says no with: one class per kind of problem, each also the platform's own error of that name.

So `except celadon.errors.KeyConflict` holds for a program that submits in its own process and for one that asks over
HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from celadon import errors
from celadon.client.flow import Answer, Failure

_URN = "urn:celadon:problem:"


class ApiError(errors.CeladonError):
    """The API refused, or can't be reached."""

    status: int | None = None  # Of the answer; None: there was none.
    problem: Mapping[str, Any] = {}  # The answer's problem details (RFC 9457).
    in_doubt: bool = False  # It may have been done all the same, by a try whose answer was lost.
    idempotency_key: str | None = None  # Of a submission: repeated with it, it is not done twice.


class Unreachable(ApiError):
    """No answer came in time."""


class NotAuthenticated(ApiError):
    """The API key is unknown or was revoked."""


class NotAuthorized(ApiError):
    """The API key lacks the scope for this."""


class InvalidRequest(ApiError, errors.InvalidPayload, errors.InvalidOption):
    """The payload, an option or the request as a whole does not fit; `problems` names each field."""


class UnknownJob(ApiError, errors.UnknownJob):
    """No job of that name is declared."""


class UnknownQueue(ApiError, errors.UnknownQueue):
    """No lane works a queue of that name."""


class KeyConflict(ApiError, errors.KeyConflict):
    """The idempotency key was used before with another payload."""


class PayloadTooLarge(ApiError, errors.PayloadTooLarge):
    """The payload, or the whole request, is larger than the limit."""


class UnknownJobId(ApiError, errors.UnknownJobId):
    """There is no job of that id."""


class UnknownSchedule(ApiError, errors.UnknownSchedule):
    """There is no schedule of that name."""


class NotAllowed(ApiError, errors.NotAllowed):
    """The job is in a state in which this can't be done."""


class TooManyRequests(ApiError):
    """The key made more requests than it may."""


class Unavailable(ApiError, errors.LedgerUnavailable):
    """The API, or the ledger behind it, is away for now."""


class Refused(ApiError, errors.Refused):
    """The broker is unavailable and the job's policy is to refuse; nothing will run."""


_BY_TYPE: dict[str, type[ApiError]] = {
    "invalid-request": InvalidRequest,
    "unknown-job": UnknownJob,
    "unknown-queue": UnknownQueue,
    "request-key-reused": KeyConflict,
    "too-large": PayloadTooLarge,
    "no-such-job": UnknownJobId,
    "no-such-schedule": UnknownSchedule,
    "not-in-this-state": NotAllowed,
    "ledger-unavailable": Unavailable,
    "broker-unavailable": Refused,
}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: NotAuthenticated,
    403: NotAuthorized,
    409: NotAllowed,
    413: PayloadTooLarge,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def of_problem(status: int, problem: Mapping[str, Any]) -> ApiError:
    """The error that problem details describe."""
    kind = _BY_TYPE.get(str(problem.get("type", "")).removeprefix(_URN)) or _BY_STATUS.get(status, ApiError)
    detail = problem.get("detail") or problem.get("title") or _phrase(status)
    fields = _fields(problem.get("errors"))
    more = [field for field in fields if field.partition(": ")[2] not in str(detail)]
    error = kind("; ".join([f"{status}: {detail}", *more]), status=status, problem=problem)
    if isinstance(error, InvalidRequest):
        error.problems = fields
    if "job_id" in problem:
        error.job_id = problem["job_id"]  # type: ignore[attr-defined]
    # A refusal is a word that nothing happened. Any other error of a server leaves that open.
    error.in_doubt = status >= 500 and not isinstance(error, Refused)
    return error


def of(outcome: Answer | Failure) -> ApiError | None:
    """The error that came of a request; None: all is well."""
    if isinstance(outcome, Failure):
        return Unreachable(f"No answer: {outcome.reason}", in_doubt=outcome.in_doubt)
    if 200 <= outcome.status < 300:
        return None
    return of_problem(outcome.status, _problem(outcome))


def _problem(answer: Answer) -> Mapping[str, Any]:
    """The problem details of an answer, if it has any: what stands in front of the API may speak another language."""
    try:
        told = json.loads(answer.content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _fields(told: Any) -> list[str]:
    """The fields to mend, each with what is wrong with it."""
    each = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    return [f"{entry.get('field')}: {entry.get('message')}" for entry in each]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"
