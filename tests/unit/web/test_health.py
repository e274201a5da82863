from __future__ import annotations

import time

import pytest

from celadon.settings import settings
from tests.ledgers import migrate
from tests.servers import PostgresServer
from tests.unit.web.conftest import Client, Configure, wish


def test_health_tells_status_uptime_and_dependencies(client: Client) -> None:
    answer = client.get("/health").json

    assert answer["status"] == "ok"
    assert answer["uptime_s"] > 0
    assert answer["dependencies"] == {"ledger": {"status": "up"}, "broker": {"status": "up"}}


def test_without_the_broker_it_is_degraded_and_ready(client: Client, configure: Configure) -> None:
    configure(broker_url="redis://127.0.0.1:1/0")

    answer = client.get("/health").json

    assert (answer["status"], answer["dependencies"]["broker"]["status"]) == ("degraded", "down")
    assert client.get("/ready").status_code == 200


def test_without_the_ledger_it_lives_and_is_not_ready(client: Client, configure: Configure) -> None:
    configure(ledger_url="sqlite:////nowhere/celadon.db")

    alive, ready = client.get("/health"), client.get("/ready")

    assert (alive.status_code, alive.json["dependencies"]["ledger"]["status"]) == (200, "down")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "2")
    assert ready.json["type"] == "urn:celadon:problem:ledger-unavailable"


def test_alive_asks_neither_ledger_nor_broker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("web.ledger.require", "celadon.broker.reachable"):
        monkeypatch.setattr(asked, lambda: pytest.fail("asked"))

    answer = client.get("/alive")

    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


def test_a_hanging_ledger_is_refused_at_once(
    client: Client, configure: Configure, own_postgres: PostgresServer
) -> None:
    # Given a database that worked and then accepts bytes without answering
    url = own_postgres.create_database("shop")
    migrate(url, "celeryconfig")
    configure(ledger_url=url, ledger_timeout_s=0.8)
    assert client.post("/api/orders", json=wish()).status_code == 202
    own_postgres.freeze()
    # When somebody orders, and reads
    for ask in (lambda: client.post("/api/orders", json=wish()), lambda: client.get("/")):
        began = time.monotonic()
        answer = ask()
        # Then the answer is a clear one, at once
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert time.monotonic() - began < settings().ledger_timeout_s + 1
    # And when the database is back, so is the shop
    own_postgres.thaw()
    assert client.post("/api/orders", json=wish()).status_code == 202
