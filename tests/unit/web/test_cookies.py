from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from tests.unit.web.conftest import Client, Configure
from tests.unit.web.shop.forms import choose
from web import create_app


def flags(client: Client, **headers: str) -> set[str]:
    cookie = client.get("/", headers=headers).headers["Set-Cookie"]
    return {part.strip().partition("=")[0] if "=" not in part else part.strip() for part in cookie.split(";")[1:]}


def test_no_script_and_no_other_site_gets_the_cookie(client: Client) -> None:
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= flags(client)


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "https,http"}, {"Origin": "https://shop.example"}],
)
def test_where_anybody_says_https_the_cookie_goes_over_https_only(client: Client, headers: dict[str, str]) -> None:
    assert "Secure" in flags(client, **headers)


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Proto": "http"}, {"Origin": "http://localhost"}])
def test_without_https_the_cookie_works_all_the_same(client: Client, headers: dict[str, str]) -> None:
    assert "Secure" not in flags(client, **headers)


def test_a_direct_https_request_is_one(client: Client) -> None:
    answer = client.get("/", base_url="https://localhost")

    assert "Secure" in answer.headers["Set-Cookie"]


def test_the_cookie_is_sent_again_only_when_it_has_changed(client: Client) -> None:
    # An answer that only looked must not take back what another one has changed meanwhile.
    choose(client, "BOWL-TEA")

    assert "Set-Cookie" not in client.get("/").headers
    assert "Set-Cookie" not in client.get("/basket").headers


def test_a_browser_keeps_it_for_thirty_days(client: Client) -> None:
    client.get("/")
    cookie = client.get_cookie("celadon")

    assert abs(datetime.now(UTC) + timedelta(days=30) - cookie.expires) < timedelta(minutes=1)
    with client.session_transaction() as kept:
        assert kept.permanent is False  # It ends as Cookies says, whether or not Flask calls it permanent.


def test_a_cookie_is_good_for_every_process_of_one_key_and_for_no_other(
    client: Client, configure: Configure, app: Flask
) -> None:
    configure(secret_key="one key for all")
    one, other = create_app(), create_app()
    configure(secret_key="another")
    stranger = create_app()
    browser = one.test_client()
    choose(browser, "BOWL-TEA")
    cookie = browser.get_cookie("celadon")
    assert cookie is not None

    for app_, sees in ((other, "1 in basket"), (stranger, "Add")):
        fresh = app_.test_client()
        fresh.set_cookie("celadon", cookie.value)
        assert (sees in fresh.get("/").text) is True
        assert ("in basket<" in fresh.get("/").text) is (app_ is other)


def test_without_a_key_each_application_makes_its_own(app: Flask, configure: Configure) -> None:
    configure(secret_key="")

    keys = {create_app().secret_key for _ in range(2)}

    assert len(keys) == 2
    assert all(isinstance(key, str) and len(key) == 64 for key in keys)
