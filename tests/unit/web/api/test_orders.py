from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import web.ordering
from celadon import find
from celadon.errors import LedgerUnavailable
from celadon.ledger import session
from celadon.ledger.db import engine
from celadon.redis import get_redis
from services.orders.model import Order
from tests.servers import MailSink
from tests.unit.web.conftest import BOTH, Client, wish


def placed(client: Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/api/orders", json=wish(**changes))
    assert answer.status_code == 202, answer.text
    found = client.get(answer.json["href"])
    assert found.status_code == 200, found.text
    order: dict[str, Any] = found.json
    return order


@BOTH
def test_an_order_is_accepted_with_its_address_and_a_receipt(client: Client, mail_sink: MailSink, stock) -> None:
    # When a program places an order
    answer = client.post("/api/orders", json=wish())
    # Then it is accepted
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["href"] == f"/api/orders/{answer.json['id']}"
    assert answer.json["receipt"]["outcome"] == "inline"
    # And it was worked through
    order = client.get(answer.headers["Location"]).json
    assert (order["number"], order["status"], order["finished"]) == ("C-000001", "complete", True)
    assert {name: step["state"] for name, step in order["processing"].items()} == {
        "inventory": "done", "email": "done", "invoice": "done"
    }  # fmt: skip
    assert order["job"]["id"] == answer.json["receipt"]["job_id"]
    assert order["job"]["state"] == "succeeded"
    assert stock("BOWL-TEA") == 238
    assert len(mail_sink.messages) == 1
    assert client.get(order["invoice"]["href"]).data.startswith(b"%PDF-")


@BOTH
def test_a_failed_step_shows_its_error_and_stops_no_other(client: Client, stock) -> None:
    order = placed(client, lines=[{"sku": "JAR-MOON", "quantity": 4}])

    steps = order["processing"]
    assert steps["inventory"]["state"] == "failed"
    assert "JAR-MOON is short: 4 wanted, 3 left" in steps["inventory"]["last_error"]
    assert steps["inventory"]["last_attempt"] is not None
    assert (steps["email"]["state"], steps["invoice"]["state"]) == ("done", "done")
    assert (order["status"], order["finished"], order["job"]["state"]) == ("processing", False, "scheduled")
    assert order["job"]["next_try"] is not None
    assert stock("JAR-MOON") == 3


def test_a_refusal_for_good_ends_the_job(client: Client, mail_sink: MailSink) -> None:
    mail_sink.answers = ["550 no such user"]

    order = placed(client)

    assert (order["status"], order["finished"], order["job"]["state"]) == ("failed", True, "dead")
    assert order["invoice"] is not None


@BOTH
def test_a_repeated_request_is_the_first_order(client: Client, mail_sink: MailSink, stock) -> None:
    first, again = (client.post("/api/orders", json=wish(), headers={"Idempotency-Key": "k-1"}) for _ in range(2))

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json["receipt"]["outcome"] == "duplicate"
    assert again.json["receipt"]["job_id"] == first.json["receipt"]["job_id"]
    assert (len(mail_sink.messages), stock("BOWL-TEA")) == (1, 238)


def test_a_key_with_another_request_is_refused(client: Client) -> None:
    client.post("/api/orders", json=wish(), headers={"Idempotency-Key": "k-1"})

    lines = [{"sku": "BOWL-TEA", "quantity": 3}]
    answer = client.post("/api/orders", json=wish(lines=lines), headers={"Idempotency-Key": "k-1"})

    assert answer.status_code == 422
    assert answer.json["type"] == "urn:celadon:problem:request-key-reused"


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused(client: Client, key: str) -> None:
    answer = client.post("/api/orders", json=wish(), headers={"Idempotency-Key": key})

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"customer": {"name": "", "email": "x"}}, {"customer.name", "customer.email"}),
        ({"customer": {"name": "Mina"}}, {"customer.email"}),
        ({"lines": []}, {"lines"}),
        ({"lines": [{"sku": "SPOON", "quantity": 0}]}, {"lines.0.sku", "lines.0.quantity"}),
        ({"lines": [{"sku": "BOWL-TEA", "quantity": "2"}]}, {"lines.0.quantity"}),
        ({"lines": [{"sku": "BOWL-TEA", "quantity": True}]}, {"lines.0.quantity"}),
        ({"lines": [{"sku": "BOWL-TEA", "quantity": 10**30}]}, {"lines.0.quantity"}),
        ({"discount": 5}, {"discount"}),
    ],
)
def test_fields_to_mend_are_named(client: Client, changes: dict[str, Any], fields: set[str]) -> None:
    answer = client.post("/api/orders", json=wish(**changes))

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert {each["field"] for each in answer.json["errors"]} == fields


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"customer": "\\ud800"}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b"name=Mina", "application/x-www-form-urlencoded", 415),
        (b" " * 70_000, "application/json", 413),
    ],
)
def test_a_body_that_is_no_order_is_refused(client: Client, body: bytes, content_type: str, status: int) -> None:
    answer = client.post("/api/orders", data=body, content_type=content_type)

    assert (answer.status_code, answer.json["status"]) == (status, status)


def test_when_the_job_cannot_be_submitted_there_is_no_order(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a ledger that goes away between the order's insert and the job's
    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("gone", job_id="j-1")

    monkeypatch.setattr(web.ordering, "submit", away)
    # When an order is placed
    answer = client.post("/api/orders", json=wish())
    # Then it is refused, and nothing is left of it
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["job_id"] == "j-1"
    with session(read_only=True) as own:
        assert own.scalar(select(func.count()).select_from(Order)) == 0


def test_an_order_whose_commit_lost_its_answer_is_not_said_to_be_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a ledger that commits and goes away before it says so
    class Lossy(Session):
        def commit(self) -> None:
            super().commit()
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error on db7.internal"))

    # When an order is placed
    headers = {"Idempotency-Key": "k-1"}
    with monkeypatch.context() as lossy:
        lossy.setattr(web.ordering, "session", lambda: Lossy(engine()))
        answer = client.post("/api/orders", json=wish(), headers=headers)
    # Then nobody says that there is none, nor where the ledger is, and the job is named
    assert answer.status_code == 503
    assert "nothing is known to be accepted" in answer.json["detail"]
    assert "db7.internal" not in answer.text
    assert find(answer.json["job_id"]) is not None
    # And the same request again is that order
    again = client.post("/api/orders", json=wish(), headers=headers)
    assert (again.status_code, again.json["receipt"]["job_id"]) == (202, answer.json["job_id"])


def test_reading_an_order_mends_its_flags_in_redis(client: Client) -> None:
    order = placed(client)
    name = f"order:{order['id']}:flags"
    written = get_redis().hgetall(name)
    get_redis().delete(name)

    client.get(f"/api/orders/{order['id']}")

    assert get_redis().hgetall(name) == written
    assert written["email_sent_at"] == order["email_sent_at"]


@pytest.mark.parametrize("order_id", ["0b7f6a0e-6a53-4d0a-8f0c-1b1f5a2f7c55", "1", "%00", "x" * 500])
def test_an_unknown_order_is_not_found(client: Client, order_id: str) -> None:
    answer = client.get(f"/api/orders/{order_id}")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_the_catalogue_is_there_for_programs_too(client: Client) -> None:
    products = {product["sku"]: product for product in client.get("/api/products").json}

    assert len(products) == 12
    assert (products["JAR-MOON"]["price_cents"], products["JAR-MOON"]["stock"]) == (24000, 3)
