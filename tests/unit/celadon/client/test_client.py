"""What a client is, whatever is asked of it."""

from __future__ import annotations

import asyncio
import inspect

import httpx
import pytest

from celadon import errors
from celadon.client import (
    ApiError,
    AsyncCeladonClient,
    CeladonClient,
    TooManyRequests,
    Unavailable,
)
from tests.eventually import eventually
from tests.unit.celadon.client.given import KEY, job
from tests.unit.celadon.scripted import Reply, problem
from tests.unit.celadon.test_init_package import loaded_by


@pytest.mark.parametrize("url", ["jobs.example.com", "ftp://jobs.example.com", "http://", "https://h/?x=1"])
def test_an_address_that_can_not_be_meant_is_refused(url):
    for kind in (CeladonClient, AsyncCeladonClient):
        with pytest.raises(errors.InvalidOption, match="base_url="):
            kind(url, KEY)


def test_a_user_in_the_address_is_refused_without_being_told():
    with pytest.raises(errors.InvalidOption, match="leave out USER:PASSWORD@") as refused:
        CeladonClient("https://ada:secret@h", KEY)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "a\nb", "schlüssel"])
def test_a_key_that_can_not_be_one_is_refused_without_being_told(key):
    with pytest.raises(errors.InvalidOption, match="key: give the text that `celadon keys create` printed") as refused:
        CeladonClient("http://h", key)
    assert not key or key not in str(refused.value)


def test_the_key_does_not_follow_to_another_server(server, call):
    server.replies = [Reply(status=307, headers={"Location": "http://elsewhere.example.org/"})]

    with pytest.raises(ApiError, match="307"):
        call("job", "1")

    assert len(server.asked) == 1


def test_a_page_where_the_api_should_be_is_told_as_such(server, call):
    server.replies = [Reply(text="<html>Welcome</html>")]

    with pytest.raises(ApiError, match="is the base URL that of Celadon"):
        call("job", "1")


def test_its_own_connections_are_closed_with_it(server):
    server.replies = [Reply(json=job())] * 2

    client = CeladonClient(server.url, KEY)
    client.job("1")
    client.close()
    eventually("the connection is over", lambda: server.over == 1)

    async def ask() -> None:
        another = AsyncCeladonClient(server.url, KEY)
        await another.job("1")
        await another.aclose()
        eventually("the connection is over", lambda: server.over == 2)

    asyncio.run(ask())


def test_an_http_client_of_ones_own_is_used_and_left_open(server):
    server.replies = [Reply(json=job()), problem(429, retry_after="100")]
    own = httpx.Client(headers={"X-Team": "reports"})
    with CeladonClient(server.url, KEY, http=own) as client:
        client.job("1")
        with pytest.raises(TooManyRequests):
            client.job("1")

    assert server.asked[0].headers["X-Team"] == "reports"
    assert not own.is_closed
    own.close()


def test_an_outage_is_the_same_error_as_in_the_process_itself(server, call):
    server.replies = [problem(503, "ledger-unavailable", retry_after="60", job_id="0199")]

    with pytest.raises(errors.LedgerUnavailable) as away:
        call("submit", "a", {})

    assert isinstance(away.value, Unavailable)
    assert away.value.job_id == "0199"


def test_both_clients_can_do_the_same():
    def public(kind: type) -> dict[str, list[str]]:
        methods = {name: value for name, value in vars(kind).items() if not name.startswith("_") or name == "__init__"}
        return {name.removeprefix("a"): list(inspect.signature(value).parameters) for name, value in methods.items()}

    assert public(CeladonClient) == {
        {"close": "close"}.get(name, name): parameters for name, parameters in public(AsyncCeladonClient).items()
    }


def test_it_loads_nothing_of_the_platform_that_a_client_does_not_need():
    heavy = {"sqlalchemy", "alembic", "celery", "kombu", "redis", "pydantic", "structlog", "celeryconfig"}

    assert loaded_by("import celadon.client") & heavy == set()
