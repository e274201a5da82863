"""The ledger is away: every route says so at once, and nothing is half-accepted."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask

from celadon import list_jobs
from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope
from tests.contract.given import race
from tests.eventually import eventually
from tests.ledgers import migrate
from tests.servers import PostgresServer
from tests.unit.web.api.given import body
from tests.unit.web.api.test_callers import OPEN, ROUTES, real
from tests.unit.web.conftest import Client, Configure, wish, with_key

BODIES: dict[str, Any] = {"/api/jobs/bulk": {"jobs": [body()]}, "/api/orders": wish()}
ASKS_LEDGER = [route[:2] for route in ROUTES] + OPEN[:-1]


@pytest.mark.parametrize(("method", "path"), ASKS_LEDGER)
@pytest.mark.parametrize("known", [True, False], ids=["a key just seen", "a key not seen before"])
def test_every_route_says_so(app: Flask, configure: Configure, method: str, path: str, known: bool) -> None:
    client = with_key(app, *Scope)
    if known:
        assert client.get("/api/jobs").status_code == 200
    configure(ledger_url="sqlite:////nowhere/celadon.db")

    answer = client.open(real(path, "x"), method=method, json=BODIES.get(path, body()))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json is not None
    assert answer.json["type"] == "urn:celadon:problem:ledger-unavailable"


def test_who_shows_no_key_hears_that_and_the_document_is_there(client: Client, configure: Configure) -> None:
    configure(ledger_url="sqlite:////nowhere/celadon.db")

    assert client.get("/api/jobs").status_code == 401
    assert client.get("/api/openapi.json").status_code == 200


def test_a_ledger_that_hangs_accepts_nothing_and_says_so_within_a_second(
    app: Flask, configure: Configure, own_postgres: PostgresServer
) -> None:
    # Given a database that worked and then accepts bytes without answering
    url = own_postgres.create_database("ledger")
    migrate(url, "celeryconfig")
    configure(ledger_url=url, ledger_timeout_s=0.8)
    text, _ = apikeys.create("test", [Scope.PRODUCE])
    headers = {"Authorization": f"Bearer {text}"}

    def submit(path: str = "/api/jobs") -> tuple[Any, float]:
        began = time.monotonic()
        sent = {"jobs": [body()] * 100} if path.endswith("bulk") else body()
        return app.test_client().post(path, json=sent, headers=headers), time.monotonic() - began

    assert submit()[0].status_code == 202
    own_postgres.freeze()
    # When more submit than there are connections, and again
    try:
        first, second = (race(14, lambda n: submit("/api/jobs/bulk" if n % 2 else "/api/jobs")) for _ in range(2))
    finally:
        own_postgres.thaw()
    # Then each is refused soon, and at once when that is known
    assert {answer.status_code for answer, _ in first + second} == {503}
    assert {answer.headers["Retry-After"] for answer, _ in first + second} == {"2"}
    assert max(seconds for _, seconds in first) < 1.3
    assert sorted(seconds for _, seconds in second)[-2] < 0.5
    # And when the database is back, so is the API, and nothing came through late
    eventually("jobs are accepted again", lambda: submit()[0].status_code == 202)
    assert len(list_jobs().jobs) == 2
