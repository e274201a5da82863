"""A call to the API as a course of steps, said without doing them.

A flow yields what is to be done next and is sent what came of it. All rules (retries, pages, reconnecting) are written
once as flows; the blocking and the awaiting client only do the steps.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(repr=False)  # They hold the key.
    body: bytes | None = None  # JSON; None: no body.
    once: bool = False  # A second time would do more than the first.
    wait_s: float | None = None  # How long the server is asked to wait with its answer.
    silent_s: float = 0.0  # How long a stream may say nothing.
    timeout_s: float = 10.0  # Of connecting, and of any other silence.


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Of a stream that was opened well the content is still to be read."""

    status: int
    headers: Mapping[str, str]  # Names in lower case.
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """Nothing came back, or not all of it."""

    reason: str
    in_doubt: bool  # The request may have arrived all the same.


@dataclass(frozen=True, slots=True)
class Send:
    """Send it; comes to an Answer or a Failure."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send it and leave the answer's content to be read; comes to an Answer or a Failure."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the stream that was opened last; comes to bytes, None at its end, or a Failure."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Hand it to the caller."""

    item: Any


Step = Send | Open | Read | Pause | Found
T = TypeVar("T")
Flow = Generator[Step, Any, T]
