"""What the API's tests begin with."""

from __future__ import annotations

from typing import Any

from celadon import submit
from tests.unit.web.conftest import Client

JOB = "orders.process"


def body(**changes: Any) -> dict[str, Any]:
    """A submission that is accepted, due in an hour."""
    return {"name": JOB, "payload": {"order_id": "o-1"}, "delay_s": 3600, **changes}


def later(**options: Any) -> str:
    """The id of a job that is due in an hour."""
    return submit(JOB, {"order_id": "o-1"}, delay=3600, **options).job_id


def fields(answer: Any) -> list[str]:
    """The fields to mend that a problem names."""
    assert answer.content_type == "application/problem+json", answer.text
    return [each["field"] for each in answer.json["errors"]]


def submitted(program: Client, **changes: Any) -> dict[str, Any]:
    """The receipt of a job that was submitted over HTTP."""
    answer = program.post("/api/jobs", json=body(**changes))
    assert answer.status_code == 202, answer.text
    receipt: dict[str, Any] = answer.json
    return receipt
