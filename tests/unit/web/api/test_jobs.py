from __future__ import annotations

import time

import pytest

from celadon import submit
from tests.unit.web.conftest import Client, wish


@pytest.fixture
def done(client: Client) -> str:
    """A job that has succeeded."""
    job_id: str = client.post("/api/orders", json=wish()).json["receipt"]["job_id"]
    return job_id


@pytest.fixture
def later(client: Client) -> str:
    """A job that is due in an hour."""
    return submit("orders.process", {"order_id": "o-1"}, delay=3600).job_id


def test_a_job_tells_its_attempts_and_steps(client: Client, done: str) -> None:
    job = client.get(f"/api/jobs/{done}").json

    assert (job["id"], job["name"], job["state"], job["engine"]) == (done, "orders.process", "succeeded", "inline")
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"]
    assert [step["name"] for step in job["steps"]] == ["inventory", "email", "invoice"]
    assert "payload" not in job


def test_waiting_for_a_finished_job_takes_no_time(client: Client, done: str) -> None:
    began = time.monotonic()

    assert client.get(f"/api/jobs/{done}?wait=30").json["state"] == "succeeded"
    assert time.monotonic() - began < 5


def test_waiting_ends_with_the_job_as_it_is(client: Client, later: str) -> None:
    began = time.monotonic()

    assert client.get(f"/api/jobs/{later}?wait=0.3").json["state"] == "scheduled"
    assert 0.3 <= time.monotonic() - began < 5


@pytest.mark.parametrize("wait", ["", "soon", "-1", "nan", "inf"])
def test_a_wait_that_is_no_time_is_refused(client: Client, done: str, wait: str) -> None:
    answer = client.get(f"/api/jobs/{done}", query_string={"wait": wait})

    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "wait"


@pytest.mark.parametrize("job_id", ["0190-unknown", "%00", "x" * 500])
def test_an_unknown_job_is_not_found(client: Client, job_id: str) -> None:
    assert client.get(f"/api/jobs/{job_id}").status_code == 404
