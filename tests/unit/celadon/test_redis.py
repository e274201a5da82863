"""One Redis client per process."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

import celadon
from celadon.redis import CONNECTIONS, get_redis
from tests.contract.given import race
from tests.contract.pointed import pointed
from tests.servers import RedisServer


@pytest.fixture
def _redis(redis_server: RedisServer) -> Iterator[None]:
    with pointed(redis_url=redis_server.url):
        yield


@pytest.mark.usefixtures("_redis")
def test_all_threads_of_a_process_share_one_client():
    assert len({id(client) for client in race(16, lambda _: get_redis())}) == 1


@pytest.mark.usefixtures("_redis")
def test_a_client_that_is_used_at_once_by_many_has_no_more_connections_than_allowed(redis_server: RedisServer):
    def use(number: int) -> bool:
        # Who finds no free connection in time is refused; on a busy machine that may be some.
        with suppress(redis.ConnectionError):
            return bool(get_redis().set(f"unit:{number}", number))
        return False

    with redis_server.client() as observer:
        # An earlier test's may not be closed yet: its client is dropped, and its collector comes when it likes.
        earlier = {client["id"] for client in observer.client_list()}

        assert any(race(CONNECTIONS + 10, use))

        mine = [one for one in observer.client_list() if one["name"] == "celadon" and one["id"] not in earlier]
    assert 1 <= len(mine) <= CONNECTIONS


@pytest.mark.usefixtures("_redis")
def test_answers_are_text():
    get_redis().set("unit:text", "é")

    assert get_redis().get("unit:text") == "é"


def test_the_client_of_another_address_is_another():
    with pointed(redis_url="redis://127.0.0.1:1/0"):
        first = get_redis()
    with pointed(redis_url="redis://127.0.0.1:2/0"):
        assert get_redis() is not first


def test_a_server_that_is_away_is_an_error_at_the_first_command_and_not_before():
    with pointed(redis_url="redis://127.0.0.1:1/0"):
        client = get_redis()

        with pytest.raises(redis.RedisError):
            client.ping()


def test_a_sentinel_address_is_read_as_kombu_writes_it():
    with pointed(redis_url="sentinel://one:26380;sentinel://:secret@two/3", broker_sentinel_master="main"):
        pool: Any = get_redis().connection_pool

    asked = [node.connection_pool.connection_kwargs for node in pool.sentinel_manager.sentinels]
    assert [(options["host"], options["port"]) for options in asked] == [("one", 26380), ("two", 26379)]
    assert pool.service_name == "main"
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (3, "secret")


def test_an_encrypted_connection_checks_the_servers_certificate():
    with pointed(redis_url="rediss://127.0.0.1:1/0", broker_ca_file="/some/ca.pem"):
        options = get_redis().connection_pool.connection_kwargs

    assert (options["ssl_cert_reqs"], options["ssl_ca_certs"]) == ("required", "/some/ca.pem")


def test_no_other_module_makes_a_client_of_its_own():
    makers = {"Redis", "StrictRedis", "from_url", "ConnectionPool", "BlockingConnectionPool", "Sentinel"}
    found = set()
    for file in Path(str(celadon.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in makers:
                    found.add(file.name)

    assert found == {"redis.py"}
