"""Plain Celery messages of other applications, made rows of the ledger before they are acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.app.task import Context
from sqlalchemy import select

from celadon.adopt import adopt
from celadon.ids import new_id
from celadon.keeper import use
from celadon.ledger.db import reading
from celadon.ledger.tables import alerts, audit, jobs
from celadon.queues import lane
from celadon.registry import get
from celadon.states import State
from celadon.worker import post
from tests.contract.given import count, row
from tests.contract.jobs import RAN

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture(autouse=True)
def _a_worker_of_the_default_lane() -> Iterator[None]:
    RAN.clear()
    post.take(lane("default"), "host:boot")
    yield
    use(None)


def message(*args: Any, **kwargs: Any) -> tuple[Context, Any, Any]:
    """A message of protocol 2 as Celery hands it to a task; keyword arguments with `_` in front are its headers."""
    headers = {name[1:]: kwargs.pop(name) for name in list(kwargs) if name.startswith("_")}
    return Context(id=new_id(), delivery_info={"routing_key": "default"}, **headers), args, kwargs


def receive(request: Context, args: Any, kwargs: Any, name: str = "contract.adopting") -> str:
    adopt(get(name), request, args, kwargs)
    return str(request.id)


def test_a_foreign_message_becomes_a_job_under_its_own_id_and_runs():
    job_id = receive(*message("hello", times=2))

    kept = row(job_id)
    assert (kept.state, kept.payload) == (State.SUCCEEDED, {"word": "hello", "times": 2})
    assert RAN == ["hello"] * 2


def test_a_message_that_comes_again_does_not_run_again():
    again = message("hello")

    receive(*again)
    receive(*again)

    assert RAN == ["hello"]
    assert count(jobs) == 1


def test_its_eta_becomes_the_ledgers_due_time_and_its_expiry_the_ledgers_expiry():
    eta = datetime.now(UTC) + timedelta(hours=1)
    expires = eta + timedelta(hours=1)

    job_id = receive(*message("later", _celadon_eta=eta.isoformat(), _celadon_expires=expires.isoformat()))

    kept = row(job_id)
    assert (kept.state, RAN) == (State.SCHEDULED, [])
    assert abs(kept.run_at - eta) < timedelta(milliseconds=2)
    assert abs(kept.expires_at - expires) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (message("x", _chord={"task": "after"}), "InvalidOption: the message uses chord"),
        (message("x", _callbacks=[{"task": "after"}]), "InvalidOption: the message uses callbacks"),
        (message(), "InvalidPayload"),
        (message("x", unknown=1), "InvalidPayload"),
        (message("x", 1, "too many"), "InvalidOption: contract.adopting takes 2 arguments"),
    ],
    ids=["chord", "callbacks", "missing argument", "unknown argument", "too many arguments"],
)
def test_what_a_ledger_job_can_not_keep_is_dead_and_says_why(request_, told):
    job_id = receive(*request_)

    kept = row(job_id)
    assert (kept.state, kept.error_kind, kept.send_due) == (State.DEAD, "NotAdopted", None)
    assert kept.error_message.startswith(told)
    assert RAN == []
    assert count(alerts, alerts.c.job_id == job_id, alerts.c.kind == "dead") == 1


def test_a_message_that_can_not_be_kept_alarms_once_however_often_it_comes():
    again = message(unknown=1)

    receive(*again)
    receive(*again)

    assert count(alerts) == count(jobs) == 1


def test_a_job_that_does_not_adopt_refuses_the_message_and_it_is_counted():
    job_id = receive(*message("x"), name="contract.inline")

    assert count(jobs) == 0
    with reading() as connection:
        written = connection.execute(select(audit)).one()
    assert (written.action, written.subject, written.detail["task"]) == ("message_refused", job_id, "contract.inline")
