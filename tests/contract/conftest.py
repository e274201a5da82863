"""One suite, two databases: what the ledger promises it promises on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celadon.ledger.db import begin
from celadon.ledger.tables import metadata
from tests.contract.pointed import pointed
from tests.ledgers import KINDS, Ledgers


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, ledgers: Ledgers) -> Iterator[str]:
    """A ledger of the module's own on each database, which this process works with; no broker is told."""
    url = ledgers.fresh(request.param)
    with pointed(ledger_url=url, use_broker="false"):
        yield url


@pytest.fixture
def ledger(database: str) -> str:
    """The same, empty: a new database for each test would cost a hundred times as much."""
    with begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return database
