"""What the server of these tests says, and to which key."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.celadon.client.test_values import JOB
from tests.unit.celadon.scripted import Reply

KEY = "cel_0123_secret"


def receipt(job_id: str = "1", outcome: str = "queued") -> dict[str, Any]:
    return {"job_id": job_id, "outcome": outcome, "by": None, "after_ms": None, "reason": None, "href": "/api/jobs/1"}


def job(**changes: Any) -> dict[str, Any]:
    return {**JOB.as_dict(), **changes}


ACCEPTED = Reply(status=202, json=receipt())


def event(mark: str, name: str, **changes: Any) -> str:
    return f"id: {mark}\nevent: {name}\ndata: {json.dumps(job(**changes))}\n\n"


def good(count: int) -> Reply:
    return Reply(json={"results": [{"status": 202, "receipt": receipt()}] * count})
