"""Who may ask: keys, scopes, and what each route takes."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import pytest
import structlog
from flask import Flask

from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope
from tests.servers import MailSink, RedisServer
from tests.unit.web.api.given import body, later
from tests.unit.web.conftest import Client, Configure, wish, with_key
from web.api import rates

ROUTES = [
    ("POST", "/api/jobs", Scope.PRODUCE),
    ("POST", "/api/jobs/bulk", Scope.PRODUCE),
    ("GET", "/api/jobs", Scope.READ),
    ("GET", "/api/jobs/{id}", Scope.READ),
    ("GET", "/api/jobs/{id}/events", Scope.READ),
    ("POST", "/api/jobs/{id}/cancel", Scope.OPERATE),
    ("POST", "/api/jobs/{id}/replay", Scope.OPERATE),
    ("POST", "/api/jobs/{id}/run-now", Scope.OPERATE),
    ("POST", "/api/jobs/{id}/reschedule", Scope.OPERATE),
    ("GET", "/api/schedules", Scope.READ),
    ("POST", "/api/schedules", Scope.OPERATE),
    ("GET", "/api/schedules/{name}", Scope.READ),
    ("PATCH", "/api/schedules/{name}", Scope.OPERATE),
    ("DELETE", "/api/schedules/{name}", Scope.OPERATE),
    ("POST", "/api/schedules/{name}/pause", Scope.OPERATE),
    ("POST", "/api/schedules/{name}/resume", Scope.OPERATE),
    ("POST", "/api/schedules/{name}/run-now", Scope.OPERATE),
    ("GET", "/api/schedules/{name}/preview", Scope.READ),
    ("GET", "/api/limits", Scope.READ),
    ("PUT", "/api/limits/{kind}/{name}", Scope.OPERATE),
    ("DELETE", "/api/limits/{kind}/{name}", Scope.OPERATE),
    ("GET", "/api/pauses", Scope.READ),
    ("PUT", "/api/pauses/{kind}/{name}", Scope.OPERATE),
    ("DELETE", "/api/pauses/{kind}/{name}", Scope.OPERATE),
    ("POST", "/api/queues/{name}/jobs", Scope.PRODUCE),
]
OPEN = [
    ("GET", "/api/products"),
    ("POST", "/api/orders"),
    ("GET", "/api/orders/0b7f6a0e-6a53-4d0a-8f0c-1b1f5a2f7c55"),
    ("GET", "/api/openapi.json"),
]


IN_PATHS = {
    "<job:job_id>": "{id}",
    "<uuid:order_id>": OPEN[2][1].rpartition("/")[2],
    "<kind:kind>": "{kind}",
    "<named:name>": "{name}",
    "<named:queue>": "{name}",
    "<schedule:name>": "{name}",
}


def real(path: str, job_id: str) -> str:
    """A route's path with what may stand in it."""
    return path.replace("{id}", job_id).replace("{kind}", "queue").replace("{name}", "default")


def test_the_routes_named_here_are_all_there_are(app: Flask) -> None:
    served = {
        (method, re.sub(r"<.*?>", lambda part: IN_PATHS[part.group()], rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {route[:2] for route in ROUTES} | set(OPEN)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_takes_a_key_with_its_scope(app: Flask, method: str, path: str, scope: Scope) -> None:
    path = real(path, later())

    nobody = app.test_client().open(path, method=method)
    others = with_key(app, *set(Scope) - {scope}).open(path, method=method)
    mine = with_key(app, scope).open(path, method=method, buffered=False)
    mine.close()

    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert nobody.json is not None
    assert nobody.json["type"] == "urn:celadon:problem:key-needed"
    assert others.status_code == 403
    assert others.json is not None
    assert (others.json["scope"], others.json["detail"]) == (scope, f"This key lacks the scope `{scope}`.")
    assert mine.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_the_shop_and_the_document_are_open(client: Client, method: str, path: str) -> None:
    assert client.open(path, method=method).status_code in (200, 404, 415)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic dTpw",
        f"Bearer cel_{'0' * 16}_{'x' * 43}",
        "Bearer a,Bearer b",
        "\xff",
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/products"])
def test_what_is_no_key_is_refused_where_none_is_needed_too(client: Client, given: str, path: str) -> None:
    answer = client.get(path, headers={"Authorization": given})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')


def test_a_revoked_key_is_refused(app: Flask) -> None:
    client = with_key(app, Scope.READ)
    apikeys.revoke(apikeys.every()[-1].id)

    assert client.get("/api/jobs").status_code == 401


def test_the_way_of_authorization_may_be_written_in_any_case(app: Flask) -> None:
    text, _ = apikeys.create("test", [Scope.READ])

    assert app.test_client().get("/api/jobs", headers={"Authorization": f"bearer  {text}"}).status_code == 200


def test_no_log_line_and_no_answer_holds_a_key(app: Flask) -> None:
    with structlog.testing.capture_logs() as lines:
        text, _ = apikeys.create("test", [Scope.READ])
        headers = {"Authorization": f"Bearer {text}"}
        answers = [
            app.test_client().get(path, headers=headers)
            for path in ("/api/jobs", "/api/jobs/1", "/api/jobs?limit=x", "/api/nowhere")
        ]

    secret = text.split("_", 2)[2]  # It may hold one itself.
    assert secret not in repr(lines) + "".join(answer.text + str(answer.headers) for answer in answers)


# --- rates


def test_a_key_over_its_rate_is_told_when_to_come_again(app: Flask, configure: Configure) -> None:
    configure(api_rate=3)
    client, other = with_key(app, Scope.READ), with_key(app, Scope.READ)

    answers = [client.get("/api/jobs") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json["type"] == "urn:celadon:problem:too-many-requests"
    assert 50 <= int(answers[3].headers["Retry-After"]) <= 60
    assert other.get("/api/jobs").status_code == 200


def test_who_tries_keys_is_slowed_down_by_address_and_the_others_there_are_not(
    app: Flask, client: Client, configure: Configure
) -> None:
    configure(api_rate=3)
    address = {"REMOTE_ADDR": str(uuid4())}

    answers = [client.get("/api/jobs", environ_overrides=address).status_code for _ in range(4)]

    assert answers == [401, 401, 401, 429]
    assert with_key(app, Scope.READ).get("/api/jobs", environ_overrides=address).status_code == 200


def test_while_redis_is_away_each_process_counts_for_itself(app: Flask, configure: Configure) -> None:
    configure(api_rate=3, redis_url="redis://127.0.0.1:1/0")
    client = with_key(app, Scope.READ)

    assert [client.get("/api/jobs").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_redis_that_hangs_costs_one_short_wait(app: Flask, configure: Configure, own_redis: RedisServer) -> None:
    configure(redis_url=own_redis.url)
    client = with_key(app, Scope.READ)
    assert client.get("/api/jobs").status_code == 200
    own_redis.freeze()

    began = time.monotonic()
    statuses = {client.get("/api/jobs").status_code for _ in range(10)}

    assert statuses == {200}
    assert time.monotonic() - began < 3


def test_all_processes_count_together(app: Flask, configure: Configure) -> None:
    configure(api_rate=2)
    client = with_key(app, Scope.READ)
    assert client.get("/api/jobs").status_code == 200
    # Another process has nothing but Redis in common with this one.
    rates._shared.cache_clear()
    rates._own.cache_clear()

    assert [client.get("/api/jobs").status_code for _ in range(2)] == [200, 429]


def test_with_a_rate_of_nothing_nobody_counts(app: Flask, configure: Configure) -> None:
    configure(api_rate=0)
    client = with_key(app, Scope.READ)

    assert {client.get("/api/jobs").status_code for _ in range(5)} == {200}


def test_an_order_takes_no_key_and_tells_nothing_of_our_servers(
    client: Client, program: Client, mail_sink: MailSink
) -> None:
    mail_sink.answers = ["451 the disk of mx7.internal is full"] * 2
    too_many = wish(lines=[{"sku": "JAR-MOON", "quantity": 9}])
    to_them, to_us = (each.post("/api/orders", json=too_many).json for each in (client, program))

    theirs, ours = (each.get(to_them["href"]).json["processing"] for each in (client, program))

    assert (to_them["receipt"]["outcome"], to_them["receipt"]["by"], to_them["receipt"]["reason"]) == (
        "inline", None, None
    )  # fmt: skip
    assert to_us["receipt"]["by"].startswith("inline@")
    assert "mx7.internal" in to_us["receipt"]["reason"]
    assert "JAR-MOON is short" in theirs["inventory"]["last_error"]
    assert theirs["email"]["last_error"] is None
    assert "mx7.internal" in ours["email"]["last_error"]
    assert program.post("/api/jobs", json=body()).status_code == 202
