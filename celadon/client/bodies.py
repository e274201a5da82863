"""What is sent: submissions in the API's form, checked and encoded before anything goes out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Required, TypedDict

from celadon.client.errors import ApiError, InvalidRequest, KeyConflict, UnknownJob, UnknownQueue
from celadon.errors import InvalidOption
from celadon.times import instant, seconds

MOST_JOBS = 1000  # That the API takes in one request.
MOST_BYTES = 4 * 1024 * 1024  # Of many jobs in one request: half of what the API takes if nobody has set it lower.


class Options(TypedDict, total=False):
    """The options of a submission; they mean what they mean to `celadon.submit`."""

    key: str | None
    run_at: datetime | None
    delay: timedelta | float | None
    expires_in: timedelta | float | None
    queue: str | None
    priority: int | None
    tenant: str | None
    confirm: bool | None


class DelegateOptions(TypedDict, total=False):
    """The options of a delegated job; they mean what they mean to `celadon.delegate`."""

    key: str | None
    run_at: datetime | None
    delay: timedelta | float | None
    expires_in: timedelta | float | None
    priority: int | None
    tenant: str | None
    callback: str | None


class NewJob(Options):
    """One of many submissions."""

    name: Required[str]
    payload: Required[Mapping[str, Any]]


def new_key() -> str:
    """An idempotency key for a submission that has none, so that a retry can't double it."""
    return f"client:{uuid.uuid4()}"


def key_of(job: NewJob, otherwise: str) -> str:
    own = job.get("key")
    return otherwise if own is None else own


def body_of(job: Mapping[str, Any], key: str) -> bytes:
    """A submission as the API takes it. Raises InvalidRequest."""
    with sendable():
        return encoded(
            {
                **{name: value for name, value in job.items() if name not in ("delay", "expires_in")},
                "key": key,
                "run_at": text(instant("run_at", job.get("run_at"))),
                "delay_s": seconds("delay", job.get("delay")),
                "expires_in_s": seconds("expires_in", job.get("expires_in")),
            }
        )


def encoded(facts: Mapping[str, Any]) -> bytes:
    given = {name: value for name, value in facts.items() if value is not None}
    return json.dumps(given, allow_nan=False, separators=(",", ":")).encode()


@contextmanager
def sendable() -> Iterator[None]:
    """What can't even be sent is refused like what the API does not take."""
    try:
        yield
    except InvalidOption as error:
        raise InvalidRequest(str(error), option=error.option) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"it can't be sent as JSON: {error}") from error


def parts(bodies: Mapping[int, bytes]) -> Iterator[list[int]]:
    """The numbers of the jobs that go together in one request."""
    part, size = list[int](), 0
    for number, body in bodies.items():
        if part and (len(part) == MOST_JOBS or size + len(body) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(number)
        size += len(body) + 1
    if part:
        yield part


def explain(error: ApiError, job: NewJob, key: str) -> None:
    """Give it the facts that the platform's own error of that name has."""
    match error:
        case UnknownJob():
            error.name = job["name"]
        case UnknownQueue():
            error.queue = job.get("queue") or ""
        case KeyConflict():
            error.key = key


def text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
