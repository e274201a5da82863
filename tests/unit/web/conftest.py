"""The real application over a real ledger. The broker is switched off, so that jobs run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

import celadon.redis
from celadon.ledger import apikeys, db, session
from celadon.ledger.apikeys import Scope
from celadon.settings import settings
from services.orders.model import Product
from tests.ledgers import Ledgers
from tests.servers import MailSink, RedisServer
from web import create_app, streams

Configure = Callable[..., None]
Client = Any  # Flask's test client, whose answers are typed as if their JSON could be missing.

BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
"""Runs a test on both databases; without it SQLite is enough."""


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Sets settings for this process by their names, in place of those of the environment."""

    def change(**changes: object) -> None:
        for name, value in changes.items():
            monkeypatch.setenv(name.upper(), str(value))
        _forget()

    yield change
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    settings.cache_clear()
    db.reset()
    celadon.redis.reset()


@pytest.fixture
def app(configure: Configure, ledgers: Ledgers, kind: str, redis_server: RedisServer, mail_sink: MailSink) -> Flask:
    streams.holders.cache_clear()  # A stream of another test may not have been read to its end.
    configure(
        ledger_url=ledgers.fresh(kind),
        broker_url=redis_server.url,
        redis_url="",
        smtp_url=mail_sink.url,
        use_broker="false",
        ledger_timeout_s=5,  # A busy machine is no ledger that is away.
    )
    return create_app()


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client()


@pytest.fixture
def program(app: Flask) -> Client:
    """A client with a key that may do everything."""
    return with_key(app, *Scope)


def with_key(app: Flask, *scopes: Scope) -> Client:
    """A client with a key of its own that may do this."""
    made: Client = app.test_client()
    made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {apikeys.create('test', scopes)[0]}"
    return made


@pytest.fixture
def stock(app: Flask) -> Callable[[str], int]:
    def left(sku: str) -> int:
        with session(read_only=True) as own:
            return own.get_one(Product, sku).stock

    return left


def wish(**changes: Any) -> dict[str, Any]:
    """An order as a program sends it."""
    customer = {"name": "Mina Ito", "email": "mina@example.com"}
    return {"customer": customer, "lines": [{"sku": "BOWL-TEA", "quantity": 2}], **changes}
