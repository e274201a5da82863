"""Fixtures for the whole suite: real private servers, started when the first test asks, and fresh ledgers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.ledgers import KINDS, Ledgers
from tests.servers import MailSink, Missing, PostgresServer, RedisServer, TcpProxy

S = TypeVar("S")


def need(make: Callable[[], S]) -> S:
    """Make a server; where its program is not installed, fail in CI and skip elsewhere."""
    try:
        return make()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have every server: {missing}")
        pytest.skip(f"needs a real server: {missing}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m "not live and not fence"` leaves out what starts whole deployments."""
    for item in items:
        for folder in ("live", "browser", "fence"):
            if Path(__file__).parent / folder in item.path.parents:
                item.add_marker(folder)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis shared by the tests that neither stop nor wipe it; they keep apart by the names of their keys."""
    server = need(lambda: RedisServer(tmp_path_factory.mktemp("redis")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed, frozen or wiped; 50 ms."""
    server = need(lambda: RedisServer(tmp_path))
    server.start()
    yield server
    server.thaw()
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL cluster for the whole run; tests use databases of their own in it."""
    server = need(PostgresServer)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped or frozen; about 1 s."""
    server = need(PostgresServer)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def ledgers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Ledgers:
    """Makes fresh, migrated ledgers: `ledgers.fresh("sqlite")`."""
    return Ledgers(tmp_path_factory.mktemp("ledgers"), lambda: request.getfixturevalue("postgres_server"))


@pytest.fixture(params=KINDS)
def ledger_url(request: pytest.FixtureRequest, ledgers: Ledgers) -> str:
    """A fresh ledger; the test runs once on each database."""
    return ledgers.fresh(request.param)


@pytest.fixture
def mail_sink() -> Iterator[MailSink]:
    """A mail server that keeps what it gets."""
    sink = MailSink()
    sink.start()
    yield sink
    sink.stop()


@pytest.fixture
def proxied_redis(own_redis: RedisServer) -> Iterator[TcpProxy]:
    """A proxy in front of `own_redis`, to spoil the connection with."""
    proxy = TcpProxy(own_redis.port)
    proxy.start()
    yield proxy
    proxy.stop()
