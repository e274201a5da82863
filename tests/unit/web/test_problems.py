from __future__ import annotations

import pytest
from flask import Flask

import web.ordering
from tests.unit.web.conftest import Client


@pytest.mark.parametrize("path", ["/api/nowhere", "/api/jobs/1/more", "/health/more", "/alive/more"])
def test_programs_get_problem_details(client: Client, path: str) -> None:
    answer = client.get(path)

    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "about:blank"
    assert (answer.json["title"], answer.json["status"]) == ("Not Found", answer.status_code)


def test_people_get_a_page(client: Client) -> None:
    answer = client.get("/nowhere")

    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "Not Found" in answer.text
    assert "To the shop" in answer.text


def test_a_wrong_method_says_which_are_right(client: Client) -> None:
    answer = client.delete("/api/orders")

    assert (answer.status_code, answer.json["status"]) == (405, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "mimetype"), [("/api/orders/", "application/problem+json"), ("/orders/", "text/html")]
)
def test_what_nobody_foresaw_is_told_without_its_details(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str, mimetype: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(web.ordering, "load", broken)

    answer = app.test_client().get(f"{path}7d3c1a0e-6f0d-4c57-9d5c-0f4f0a3f5c11")

    assert (answer.status_code, answer.mimetype) == (500, mimetype)
    assert "hunter2" not in answer.text
