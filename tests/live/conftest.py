"""Warm deployments that the live tests share: one per database, started when the first test asks for it.

Their clocks are fast, so a deployment that only stands by takes a fifth of a core from whoever is tested meanwhile.
Therefore the tests that share one come last, by database, and there is one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.ledgers import KINDS, Ledgers
from tests.live.platform import CONFIG, Platform, Warm
from tests.servers import RedisServer

Make = Callable[[str], Warm]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share a warm deployment to the end, SQLite's before PostgreSQL's."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        return "warm" in getattr(item, "fixturenames", ()), "postgresql" in item.name

    places = [place for place, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    for place, item in zip(places, sorted((items[place] for place in places), key=turn), strict=True):
        items[place] = item


@pytest.fixture(scope="package")
def warm(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Make]:
    """A deployment with Beat and a worker for each lane, by kind of ledger."""
    made: dict[str, Warm] = {}

    def stop() -> None:
        for deployment in made.values():
            deployment.stop()
            deployment.redis.stop()
        made.clear()

    def make(kind: str) -> Warm:
        if kind not in made:
            stop()
            folder = tmp_path_factory.mktemp(f"live-{kind}")
            url = ledgers.fresh(kind, CONFIG)
            redis = need(lambda: RedisServer(folder))
            redis.start()
            made[kind] = Warm(folder, redis, url)
            made[kind].start()
        return made[kind]

    yield make
    stop()


@pytest.fixture
def platform(warm: Make) -> Iterator[Warm]:
    """The deployment on SQLite, whole again after the test."""
    deployment = warm("sqlite")
    yield deployment
    deployment.mend()


@pytest.fixture(params=KINDS)
def either(warm: Make, request: pytest.FixtureRequest) -> Iterator[Warm]:
    """The deployment on each database by turns, whole again after the test."""
    deployment = warm(request.param)
    yield deployment
    deployment.mend()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers, own_redis: RedisServer) -> Iterator[Platform]:
    """A deployment of the test's own, on SQLite, with nothing started but a Redis that it may ruin."""
    deployment = Platform(tmp_path_factory.mktemp("live"), own_redis, ledgers.fresh("sqlite", CONFIG))
    yield deployment
    deployment.stop()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test's jobs have."""
    return re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:64]
