"""Every store of the kit, on the real thing: one suite, four stores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.celadon_feature.replicas import Replica
from tests.servers import PostgresServer, RedisServer

STORES = ("sqlite", "sql on sqlite", "sql on postgresql", "redis")
Place = Callable[[], str]


@pytest.fixture(scope="module", params=STORES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Makes the address of an empty store, by turns of each kind."""
    folder = tmp_path_factory.mktemp("stores")

    def make() -> str:
        name = f"deliveries_{uuid.uuid4().hex[:8]}"
        if request.param == "sqlite":
            return f"sqlite+{folder / name}.db"
        if request.param == "sql on sqlite":
            return f"sql+sqlite:///{folder / name}.db"
        if request.param == "redis":
            redis: RedisServer = request.getfixturevalue("redis_server")
            return f"redis+{redis.url}"
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        return f"sql+{postgres.create_database(name)}"

    return make


@pytest.fixture(scope="module")
def address(place: Place) -> str:
    """A store that the module's tests share; they keep apart by the ids of their jobs."""
    return place()


@pytest.fixture
def job_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the handlers of the replicas did, a line each."""
    file = tmp_path_factory.mktemp("effects") / "effects"
    file.touch()
    return file


@pytest.fixture(scope="module")
def _pair(address: str, effects: Path) -> Iterator[list[Replica]]:
    pair: list[Replica] = []
    yield pair
    for replica in pair:
        replica.kill()


@pytest.fixture
def replicas(_pair: list[Replica], address: str, effects: Path) -> list[Replica]:
    """Two replicas of one service, each a process; those that a test has killed are made anew."""
    _pair[:] = [replica for replica in _pair if replica.alive]
    _pair.extend([Replica(address, effects) for _ in range(2 - len(_pair))])
    for replica in _pair:
        replica.ready()
    return _pair
