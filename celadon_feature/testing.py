"""Requests as the platform sends them, for tests of a feature."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

from celadon_feature.signing import parsed_keys, signature


def delivery(
    queue: str,
    data: Any,
    *,
    keys: str | Iterable[str],
    job_id: str | None = None,
    attempts_made: int = 0,
    at: float | None = None,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST that delivers a job. job_id: None makes a new one. at: signed then, not now."""
    job_id = job_id or str(uuid.uuid4())
    body = json.dumps({"jobId": job_id, "queueName": queue, "data": data, "attemptsMade": attempts_made}).encode()
    told = {"Content-Type": "application/json", "Idempotency-Key": job_id}
    return {**told, **signed(job_id, body, keys=keys, at=at)}, body


def signed(job_id: str, body: bytes = b"", *, keys: str | Iterable[str], at: float | None = None) -> dict[str, str]:
    """The headers that sign a request; without a body, those of the GET that asks for the state of the job."""
    timestamp = str(int(time.time() if at is None else at))
    signatures = " ".join(signature(key, job_id, timestamp, body) for key in parsed_keys(keys))
    return {"webhook-id": job_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}
