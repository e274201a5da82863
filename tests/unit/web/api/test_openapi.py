"""The OpenAPI document is true: schemathesis asks every route all that it allows and forbids, and finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig

from celadon import list_jobs, schedules
from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope
from celadon.states import State
from tests.contract.given import a_dead_letter, a_job_that_is
from tests.contract.jobs import anything
from tests.contract.pointed import pointed
from tests.ledgers import Ledgers
from tests.unit.web.conftest import Client, wish
from web import create_app
from web.api import jobs
from web.api.openapi import document
from web.api.routes import ROUTES

DOCUMENT = document(ROUTES)
ALLOWED = {  # A state in which each may be done.
    "cancel": State.QUEUED,
    "replay": State.DEAD,
    "run_now": State.SCHEDULED,
    "reschedule": State.SCHEDULED,
}
SERVED: list[Flask] = []  # The application, once there is one.


def served(environ: Any, start_response: Any) -> Any:
    return SERVED[-1](environ, start_response)


schema = schemathesis.openapi.from_dict(
    DOCUMENT, config=SchemathesisConfig.from_dict({"seed": 1, "generation": {"deterministic": True}})
)


schema.app = served


class World:
    """The application, over a ledger with jobs in every state and an order."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.numbers = count()
        self.key, _ = apikeys.create("schemathesis", [*Scope])
        for state in State:
            a_job_that_is(state)
        a_dead_letter()
        self.finished = [job.id for job in list_jobs(states=["succeeded", "dead", "cancelled"]).jobs]
        self.jobs = [job.id for job in list_jobs().jobs]
        self.order = app.test_client().post("/api/orders", json=wish()).get_json()["id"]

    def make_real(self, case: Any) -> None:
        """Put what exists where the document can only say "a text"."""
        name = case.operation.definition.raw["operationId"]
        number = next(self.numbers)
        if "job_id" in case.path_parameters:
            ids = self.finished if name == "job_events" else self.jobs
            fresh = name in ALLOWED and number % 2
            case.path_parameters["job_id"] = a_job_that_is(ALLOWED[name]) if fresh else ids[number % len(ids)]
        if "order_id" in case.path_parameters:
            case.path_parameters["order_id"] = self.order
        if "after" in (case.query or {}):
            case.query["after"] = list_jobs(limit=1 + number % 5).next
        if "Idempotency-Key" in (case.headers or {}) and name != "place":
            case.headers["Idempotency-Key"] = f"{name}-{number}"
        if "kind" in case.path_parameters:
            self._gate(case)
        elif "name" in case.path_parameters:
            case.path_parameters["name"] = self._a_schedule(number)
        if name in ("add_schedule", "edit_schedule"):
            self._schedule(case.body, number)
        if name == "submit":
            self._declared(case.body)
        if name == "delegate":
            case.path_parameters["queue"] = "email"  # Of the project's own registration file.
            case.body["key"] = None
            if case.body.get("callback"):
                case.body["callback"] = "https://shop.example.org/hook"
        if name == "submit_many":
            for item in case.body["jobs"]:
                if isinstance(item, dict):
                    self._declared(item)
        if name == "place":
            case.body = wish()

    def _gate(self, case: Any) -> None:
        there = {"queue": "default", "job": anything.name, "tenant": "a/b"}
        case.path_parameters["name"] = there[case.path_parameters["kind"]]
        if isinstance(case.body, dict) and case.body.get("until"):
            case.body["until"] = "2031-01-01T00:00:00Z"
        if isinstance(case.body, dict) and case.path_parameters["kind"] == "tenant":
            for rule in case.body.get("rules", []):
                rule.pop("each", None)

    def _a_schedule(self, number: int) -> str:
        name = f"every minute / {number}"
        schedules.add(name, anything.name, payload={"value": 1}, crontab="* * * * *")
        return name

    def _schedule(self, body: dict[str, Any], number: int) -> None:
        """What only the calendar, the declarations and other schedules can tell."""
        real = {
            "name": f"schedule {number}",
            "job": anything.name,
            "crontab": "0 2 * * *",
            "every_s": 300,
            "at": "2031-06-01T00:00:00Z",
            "starts_at": "2031-01-01T00:00:00Z",
            "ends_at": "2032-01-01T00:00:00Z",
            "timezone": "Europe/Berlin",
            "queue": "data_sync",
            "overlap": "queue",
        }
        body |= {name: value for name, value in real.items() if body.get(name) is not None}
        if body.get("every_s") or body.get("at"):
            body.pop("timezone", None)
        if "name" in body or "payload" in body:
            body["payload"] = {"value": body.get("payload")}

    def _declared(self, body: dict[str, Any]) -> None:
        body |= {"name": anything.name, "payload": {"value": body.get("payload")}, "queue": None, "key": None}


@pytest.fixture(scope="module")
def world(ledgers: Ledgers) -> Iterator[World]:
    away = "redis://127.0.0.1:1/0"
    with pointed(
        ledger_url=ledgers.fresh("sqlite"), use_broker="false", redis_url=away, api_rate=0, ledger_timeout_s=5
    ):
        made = World(create_app())
        SERVED.append(made.app)
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(jobs, "MAX_WAIT_S", 0.02)
        yield made
        monkeypatch.undo()


def test_the_document_is_served_to_everybody_and_is_valid(client: Client) -> None:
    answer = client.get("/api/openapi.json")

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == DOCUMENT
    validate(answer.json)


def test_every_operation_says_what_it_is_and_every_answer_what_it_holds() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            for answer in operation["responses"].values():
                assert "$ref" in answer or answer["content"], (method, path)


STEERING = "^/api/(schedules|limits|pauses)"


def as_hard(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@schema.exclude(path_regex=STEERING).parametrize()
@as_hard(25)
def test_the_document_is_true(case: Any, world: World) -> None:
    ask(case, world)


@schema.include(path_regex=STEERING).parametrize()
@as_hard(4)
def test_the_document_is_true_of_schedules_limits_and_pauses(case: Any, world: World) -> None:
    ask(case, world)


def ask(case: Any, world: World) -> None:
    allowed = case.meta.generation.mode.is_positive
    if allowed:
        world.make_real(case)
    answer = case.call_and_validate(headers={"Authorization": f"Bearer {world.key}"})
    # What the document allows is done; of what it can't know, only the job's state may stand in the way.
    assert not allowed or answer.status_code in (200, 201, 202, 409), answer.text
