from __future__ import annotations

from datetime import timedelta

from flask import Flask

from celadon import submit, wait
from celadon.redis import get_redis
from celadon.registry import get
from services.mail import MailRefused
from services.orders.errors import OrderNotFound
from tests.unit.web.conftest import Client, wish


def test_the_order_job_is_declared_as_promised(app: Flask) -> None:
    job = get("orders.process")

    assert (job.queue, job.attempts, job.backoff) == ("default", 5, timedelta(seconds=5))
    assert (job.keep, job.alert_after, job.fallback) == (100, 3, "inline")
    assert job.scope == "order:{order_id}"
    assert job.permanent == (OrderNotFound, MailRefused)


def test_an_order_that_is_not_there_ends_its_job_at_once(app: Flask) -> None:
    receipt = submit("orders.process", {"order_id": "nowhere"})

    job = wait(receipt.job_id, 5)

    assert job is not None
    assert job.error is not None
    assert (job.state, job.error["kind"], job.error["message"]) == (
        "dead",
        "OrderNotFound",
        "There is no order nowhere.",
    )


def test_lost_flags_come_back_by_schedule(client: Client) -> None:
    # Given an order whose hash Redis has lost
    order_id = client.post("/api/orders", json=wish()).json["id"]
    name = f"order:{order_id}:flags"
    written = get_redis().hgetall(name)
    get_redis().delete(name)
    # When the job of the schedule runs
    receipt = submit("orders.rebuild_flags", {})
    # Then it is back
    job = wait(receipt.job_id, 5)
    assert job is not None
    assert job.result == {"checked": 1, "missing": 1, "wrong": 0}
    assert get_redis().hgetall(name) == written
