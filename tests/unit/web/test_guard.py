from __future__ import annotations

import re

import pytest

from tests.unit.web.conftest import Client, wish


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # A program.
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost:8080"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_only_pages_of_this_site_may_order(client: Client, headers: dict[str, str], allowed: bool) -> None:
    answers = [
        client.post("/api/orders", json=wish(), headers=headers).status_code,
        client.post("/orders", data={"customer.name": "Mina"}, headers=headers).status_code,
    ]

    assert answers == ([202, 422] if allowed else [403, 403])


def test_anybody_may_link_to_the_shop(client: Client) -> None:
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/products", "/nowhere", "/static/shop.css"])
def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers

    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert ("max-age=3600" if path.startswith("/static") else "no-store") in headers["Cache-Control"]


def test_no_page_has_anything_inline_that_its_policy_forbids(client: Client) -> None:
    order = client.post("/api/orders", json=wish(lines=[{"sku": "JAR-MOON", "quantity": 9}])).json

    for path in ("/", f"/orders/{order['id']}", "/nowhere"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", page), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page), path
