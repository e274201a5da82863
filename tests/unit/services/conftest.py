"""The shop's own database, made by the shop's own migrations, without the platform."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from services.orders.model import Order
from services.orders.place import Line, place
from tests.unit.services.migrating import upgrade

_numbers = itertools.count(1)

Place = Callable[..., Order]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty shop with its catalogue; the test runs once on each database."""
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/shop.db", connect_args={"timeout": 10})
        # As the platform does: the driver begins nothing by itself, and who may write locks at once.
        event.listen(made, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        server = request.getfixturevalue("postgres_server")
        made = create_engine(server.create_database(f"shop_{os.getpid()}_{next(_numbers)}"))
    with made.begin() as connection:
        upgrade(connection)
    yield made
    made.dispose()


@pytest.fixture
def begin(engine: Engine) -> sessionmaker[Session]:
    """Call it for a session; `.begin()` for one that commits at its end."""
    return sessionmaker(engine, expire_on_commit=False)


@pytest.fixture
def placed(begin: sessionmaker[Session]) -> Place:
    """Places and commits an order of the given quantities: `placed(BOWL_TEA=2)`."""

    def order(name: str = "Mina Ito", email: str = "mina@example.com", **quantities: int) -> Order:
        wanted = quantities or {"BOWL_TEA": 2}
        lines = [Line(sku.replace("_", "-"), quantity) for sku, quantity in wanted.items()]
        with begin.begin() as session:
            return place(session, name=name, email=email, lines=lines)[0]

    return order
