"""A delivery: one try of one job, as it comes in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from celadon_feature.answers import Refused

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_FIELDS = {"jobId", "queueName", "data", "attemptsMade"}
_MOST_ATTEMPTS = 2**31 - 1  # What a database's integer holds.


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What a handler gets.

    job_id: the same for every try of the job; give it on as idempotency key to whatever the handler calls.
    data: what the job's producer gave, any JSON. attempts_made: tries that failed before this one.
    traceparent: the trace that the job belongs to (W3C), if there is one.
    """

    job_id: str
    queue: str
    data: Any = field(repr=False)
    attempts_made: int = 0
    traceparent: str | None = None


Handler = Callable[[Delivery], Any]


class Permanent(Exception):
    """Raised by a handler to say that another try can't help: the job is dead at once."""


def is_job_id(text: str) -> bool:
    return _JOB_ID.fullmatch(text) is not None


def parse(body: bytes, traceparent: str | None = None) -> Delivery:
    """The body of a POST. Raises Refused (400), which names what is wrong with it."""
    try:
        told = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {str(error)[:200]}") from None
    if not isinstance(told, dict):
        raise Refused(400, "The body is no JSON object")
    missing = sorted(_FIELDS - told.keys())
    if missing:
        raise Refused(400, f"{', '.join(missing)}: missing in the body")
    problems = list(_problems(told["jobId"], told["queueName"], told["attemptsMade"]))
    if problems:
        raise Refused(400, "; ".join(problems))
    return Delivery(
        job_id=told["jobId"],
        queue=told["queueName"],
        data=told["data"],
        attempts_made=told["attemptsMade"],
        traceparent=traceparent,
    )


def _problems(job_id: object, queue: object, attempts_made: object) -> list[str]:
    found = []
    if not isinstance(job_id, str) or not is_job_id(job_id):
        found.append(f"jobId: {job_id!r:.100} is no id; 1 to 128 letters, digits, '-' and '_' are allowed")
    if not isinstance(queue, str) or not queue:
        found.append(f"queueName: {queue!r:.100} is no name")
    # To Python, true is an integer.
    if type(attempts_made) is not int or not 0 <= attempts_made <= _MOST_ATTEMPTS:
        found.append(f"attemptsMade: {attempts_made!r:.100} is no count of tries")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
