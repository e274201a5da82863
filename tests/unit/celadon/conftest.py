"""A ledger on SQLite and, for what needs one, a real Redis: the platform's parts as one process sees them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tests.unit.celadon.jobs  # noqa: F401 (declares the jobs that are submitted by name)
from celadon.ledger.db import begin
from celadon.ledger.tables import metadata
from tests.contract.pointed import pointed
from tests.ledgers import Ledgers
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def _ledger_of_the_module(ledgers: Ledgers) -> Iterator[str]:
    url = ledgers.fresh("sqlite")
    with pointed(ledger_url=url, use_broker="false"):
        yield url


@pytest.fixture
def ledger(_ledger_of_the_module: str) -> str:
    """An empty ledger that this process works with; nothing is sent to a broker."""
    with begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return _ledger_of_the_module


@pytest.fixture
def broker_of_its_own(ledger: str, own_redis: RedisServer) -> Iterator[RedisServer]:
    """A Redis that this process takes for its broker, to be killed and started again."""
    with pointed(ledger_url=ledger, use_broker="true", broker_url=own_redis.url, redis_url=None):
        yield own_redis
