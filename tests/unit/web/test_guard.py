from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from itsdangerous import TimestampSigner

from tests.servers import MailSink
from tests.unit.web.conftest import Client, wish
from tests.unit.web.shop.forms import MINA, choose, fields, order_form
from web.guard import TOKEN_FOR


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
        client.post("/orders", data=order_form(client), headers=headers).status_code,
    ]

    assert answers == ([202, 303] if allowed else [403, 403])


def test_over_https_a_browser_that_withholds_its_referer_may_order(client: Client) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}

    answer = client.post("/orders", data=order_form(client), headers=headers, base_url="https://localhost")

    assert answer.status_code == 303


def test_anybody_may_link_to_the_shop(client: Client) -> None:
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("token", ["", "wrong"])
@pytest.mark.parametrize("path", ["/basket/add", "/basket", "/orders"])
def test_a_form_without_our_token_changes_nothing_and_loses_nothing(
    client: Client, mail_sink: MailSink, path: str, token: str
) -> None:
    # Given a filled form
    form = order_form(client, sku="POT-TEA", **{"quantity.BOWL-TEA": "9"})
    # When it comes without the token that the page had
    answer = client.post(path, data={**form, "csrf_token": token})
    # Then nothing is done
    assert answer.status_code == 400
    assert "Please send it once more" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert mail_sink.messages == []
    # And the page has all that was filled in, with a good token
    again = fields(answer.text, path)
    assert {**again, "csrf_token": ""} == {**form, "csrf_token": ""}
    assert client.post(path, data=again).status_code in (200, 303)


def test_a_token_that_is_too_old_can_be_sent_once_more(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    form = order_form(client)
    now = TimestampSigner.get_timestamp

    def later(signer: TimestampSigner) -> int:
        return now(signer) + int((TOKEN_FOR + timedelta(minutes=1)).total_seconds())

    monkeypatch.setattr(TimestampSigner, "get_timestamp", later)
    answer = client.post("/orders", data=form)

    assert answer.status_code == 400
    assert client.post("/orders", data=fields(answer.text, "/orders")).status_code == 303


def test_an_order_is_not_lost_with_the_cookie(client: Client) -> None:
    # As after a restart of a shop that was given no SECRET_KEY.
    form = order_form(client)
    client.delete_cookie("celadon")

    answer = client.post("/orders", data=form)
    again = fields(answer.text, "/orders")

    assert again.items() >= {**MINA, "quantity.BOWL-TEA": "2"}.items()
    assert client.post("/orders", data=again).status_code == 303


def test_a_token_of_another_browser_is_none(app: Flask, client: Client) -> None:
    other = app.test_client()
    choose(other, "BOWL-TEA")

    form = {**order_form(client), "csrf_token": order_form(other)["csrf_token"]}

    assert client.post("/orders", data=form).status_code == 400


@pytest.mark.parametrize("path", ["/", "/api/products", "/nowhere", "/static/shop.css"])
def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers

    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")


def test_no_page_has_anything_inline_that_its_policy_forbids(client: Client) -> None:
    order = client.post("/api/orders", json=wish(lines=[{"sku": "JAR-MOON", "quantity": 9}])).json

    choose(client, "BOWL-TEA")
    for path in ("/", "/basket", "/orders", f"/orders/{order['id']}", "/nowhere"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", page), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page), path
