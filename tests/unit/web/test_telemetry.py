"""What is told of a request: one line, metrics, and the id by which it is found."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from flask import Flask, Response
from prometheus_client import REGISTRY

from tests.unit.web.conftest import Client

Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def logged() -> Iterator[Logged]:
    merge = structlog.contextvars.merge_contextvars
    with structlog.testing.capture_logs(processors=[merge]) as lines:
        yield lines


def requests(logged: Logged) -> Logged:
    return [line for line in logged if line["event"] == "http.request"]


def counted(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("celadon_http_requests_total", labels) or 0.0


def test_a_request_is_one_line_with_its_route_and_is_counted(client: Client, logged: Logged) -> None:
    before = counted("GET", "/api/products", "200")

    client.get("/api/products?secret=1").close()

    (line,) = requests(logged)
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/products", 200)
    assert 0 < line["ms"] < 60_000
    assert "secret" not in str(logged)
    assert counted("GET", "/api/products", "200") == before + 1


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/orders/0b5ee8a4-0000-4000-8000-000000000000", "/orders/<uuid:order_id>", "404"),
        ("GET", "/no/such/page", "(none)", "404"),
        ("DELETE", "/api/products", "(none)", "405"),
        ("BREW", "/", "(none)", "405"),
    ],
)
def test_no_label_is_chosen_by_whoever_asks(client: Client, method: str, path: str, route: str, status: str) -> None:
    told = "OTHER" if method == "BREW" else method
    before = counted(told, route, status)

    client.open(path, method=method).close()

    assert counted(told, route, status) == before + 1


@pytest.mark.parametrize("given", ["a", "Root=1-67.a_B", "0123456789abcdef" * 4])
def test_a_sane_id_is_taken_over(client: Client, logged: Logged, given: str) -> None:
    given = given.replace("=", "-")

    response = client.get("/api/products", headers={"X-Request-ID": given})
    response.close()

    assert response.headers["X-Request-ID"] == given
    assert requests(logged)[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", 'x"}', "é", "x" * 65, None])
def test_any_other_is_replaced(client: Client, given: str | None) -> None:
    response = client.get("/api/products", headers={} if given is None else {"X-Request-ID": given})

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_lines_of_a_request_carry_its_id_and_nothing_of_the_one_before(
    app: Flask, client: Client, logged: Logged
) -> None:
    @app.get("/api/talks/<word>")
    def talks(word: str) -> str:
        structlog.get_logger().info("talked")
        structlog.contextvars.bind_contextvars(word=word)
        return word

    for word in ("first", "second"):
        client.get(f"/api/talks/{word}", headers={"X-Request-ID": word}).close()

    told = [line for line in logged if line["event"] == "talked"]
    assert [(line["request_id"], line.get("word")) for line in told] == [("first", None), ("second", None)]


def test_after_a_request_its_thread_says_nothing_in_its_name(client: Client) -> None:
    client.get("/api/products").close()

    assert structlog.contextvars.get_contextvars() == {}


def test_a_stream_is_told_when_it_is_over(app: Flask, client: Client, logged: Logged) -> None:
    @app.get("/api/streams")
    def streams() -> Response:
        return Response(iter(["one", "two"]))

    response = client.get("/api/streams")
    assert requests(logged) == []
    assert response.data == b"onetwo"
    response.close()

    assert requests(logged)[0]["route"] == "/api/streams"


def test_a_request_that_fails_is_told_too_and_its_error_carries_its_id(
    app: Flask, client: Client, logged: Logged
) -> None:
    @app.get("/api/fails")
    def fails() -> str:
        raise RuntimeError("no luck")

    response = client.get("/api/fails")
    response.close()

    assert response.status_code == 500
    (error,) = [line for line in logged if line["event"] == "request_failed"]
    (line,) = requests(logged)
    assert line["status"] == 500
    assert error["request_id"] == line["request_id"] == response.headers["X-Request-ID"]
