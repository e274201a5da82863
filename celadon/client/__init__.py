"""Celadon over HTTP, for programs that have nothing else of the platform: no ledger, no broker, no `celeryconfig`.

    with CeladonClient("https://jobs.example.com", key) as client:
        receipt = client.submit("reports.build", {"year": 2026})
        job = client.wait(receipt.job_id, seconds=60)

`AsyncCeladonClient` is the same for asyncio. Both need httpx, which the extra `client` brings.
"""

from celadon.client.awaiting import AsyncCeladonClient
from celadon.client.blocking import CeladonClient
from celadon.client.errors import (
    ApiError,
    InvalidRequest,
    KeyConflict,
    NotAllowed,
    NotAuthenticated,
    NotAuthorized,
    PayloadTooLarge,
    Refused,
    TooManyRequests,
    Unavailable,
    UnknownJob,
    UnknownJobId,
    UnknownQueue,
    UnknownSchedule,
    Unreachable,
)
from celadon.client.values import Gate, Limit, Receipt, Schedule, Use

__all__ = [
    "ApiError",
    "AsyncCeladonClient",
    "CeladonClient",
    "Gate",
    "InvalidRequest",
    "KeyConflict",
    "Limit",
    "NotAllowed",
    "NotAuthenticated",
    "NotAuthorized",
    "PayloadTooLarge",
    "Receipt",
    "Refused",
    "Schedule",
    "TooManyRequests",
    "Unavailable",
    "UnknownJob",
    "UnknownJobId",
    "UnknownQueue",
    "UnknownSchedule",
    "Unreachable",
    "Use",
]
