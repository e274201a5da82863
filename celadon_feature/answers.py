"""What a request is answered with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

# So many bytes beyond the limit are read and dropped, so that the sender of too large a body gets the answer that says
# so. One that is answered before it has sent everything sees no more than a connection that is reset.
DRAIN_BYTES = 8 * 1024 * 1024
STORE_RETRY_AFTER_S = 5  # What a caller is told who met a store that was away.
REPLAYED = "Idempotent-Replayed"  # On an answer that an earlier delivery of the job was given already.


class Answer(NamedTuple):
    """An HTTP answer, for whichever server is in front."""

    status: int
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """A request that is answered without any work: with this status, and what is wrong in words."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)

    def answer(self) -> Answer:
        told = {"success": False, "error": str(self)}
        return Answer(self.status, {"Content-Type": "application/json", **self.headers}, as_json(told).encode())


def too_large(limit: int) -> Refused:
    """The body has more than `limit` bytes."""
    return Refused(413, f"The body is larger than {limit} bytes; deliver a reference to what is larger")


def store_away() -> Refused:
    """The store can't be reached, and nothing has run, so it is no failed try of the job."""
    return Refused(503, "The store of deliveries is away", Retry_After=str(STORE_RETRY_AFTER_S))


def ok(text: str, *, replayed: bool = False) -> Answer:
    """Status 200 with this JSON."""
    headers = {"Content-Type": "application/json", **({REPLAYED: "true"} if replayed else {})}
    return Answer(200, headers, text.encode())


def as_json(value: Mapping[str, Any]) -> str:
    """JSON that every parser reads. Raises TypeError, ValueError (also for NaN), RecursionError."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
