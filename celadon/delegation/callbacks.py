"""The job that tells whoever asked how a delegated job has ended: a signed POST, tried again like any job."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from celadon import tracing
from celadon.delegation import file
from celadon.delegation.belonging import CALLBACK
from celadon.delegation.entries import Receiver
from celadon.errors import CallbackFailed, DeliveryRefused, Postponed
from celadon.jobs import Claim
from celadon.steps import Steps
from celadon.task import job

CONNECT_S, WHOLE_S = 2.0, 15.0  # To take note of something takes no longer.
MAX_ANSWER_BYTES = 16 * 1024  # Nobody reads it; a kept connection needs its end.
GONE = 410  # By its meaning the one answer that asks not to be told again.
LATER = (429, 503)


@job(CALLBACK, attempts=10, backoff=timedelta(seconds=5), fallback="defer")
def call_back(url: str, told: dict[str, Any], steps: Steps) -> None:
    """Tell a receiver of a job's end. A repeat has the same `webhook-id`, by which it can be told from a new one.

    Raises CallbackFailed (tried again), DeliveryRefused (dead at once), Postponed, UnusableKeys.
    """
    # Every process knows this job; only who delivers loads the HTTP client.
    from celadon.delegation import client, urls

    target = urls.parse(url, range(1, 65536))
    receiver = file.table().callbacks.get(target.origin)
    if receiver is None:
        raise DeliveryRefused(f"{target.origin} may not be sent results any more; [callbacks] does not have it")
    body = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    request = client.Request(
        method="POST",
        url=target,
        headers=_headers(steps.claim, receiver, body),
        body=body,
        connect_s=CONNECT_S,
        first_byte_s=WHOLE_S,
        whole_s=WHOLE_S,
        max_answer_bytes=MAX_ANSWER_BYTES,
        networks=receiver.networks,
        age_s=file.table().resolver.age.total_seconds(),
    )
    _judge(client.exchange(request), target.origin)


def _headers(claim: Claim, receiver: Receiver, body: bytes) -> dict[str, str]:
    from celadon.delegation import keys, signing
    from celadon.delegation.delivery import TRACE

    trace = tracing.current() or claim.trace or {}
    return {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": claim.job_id,
        **{name: trace[name] for name in TRACE if name in trace},
        **signing.headers(claim.job_id, body, keys.keys_of(receiver.keys), datetime.now(UTC)),
    }


def _judge(outcome: Any, origin: str) -> None:
    """Return if the receiver has taken note. Raises as `call_back`."""
    from celadon.delegation.client import Answered
    from celadon.delegation.retry_after import retry_after_s

    if not isinstance(outcome, Answered):
        raise CallbackFailed(outcome.reason)
    if 200 <= outcome.status < 300:
        return
    if outcome.status == GONE:
        raise DeliveryRefused(f"{origin} answered {GONE}: it is not to be told again")
    after_s = retry_after_s(outcome.headers) if outcome.status in LATER else None
    if after_s is not None:
        raise Postponed(after_s, f"{origin} answered {outcome.status}: later")
    raise CallbackFailed(f"{origin} answered {outcome.status}")
