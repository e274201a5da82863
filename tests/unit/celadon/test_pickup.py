"""The pick-up rendezvous, with a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import pytest
import redis

from celadon.ids import new_id
from celadon.pickup import KEEP_S, announce, heard
from celadon.redis import get_redis
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import RedisServer
from tests.servers.process import free_port


@pytest.fixture
def _redis(redis_server: RedisServer) -> Iterator[None]:
    with pointed(redis_url=redis_server.url):
        yield


@pytest.mark.usefixtures("_redis")
def test_an_announcement_is_heard_by_who_waits_already():
    job_id = new_id()
    ears: list[str | None] = []
    waiting = Thread(target=lambda: ears.append(heard(job_id, 5)))
    waiting.start()
    eventually("somebody waits", lambda: int(get_redis().info("clients")["blocked_clients"]) > 0)

    announce(job_id, "host:boot:7")
    waiting.join(5)

    assert ears == ["host:boot:7"]


@pytest.mark.usefixtures("_redis")
def test_an_announcement_is_heard_by_who_comes_later_and_is_gone_after_a_while():
    job_id = new_id()

    announce(job_id, "host:boot:7")

    assert 0 < get_redis().ttl(f"pickup:{job_id}") <= KEEP_S
    assert heard(job_id, 1) == "host:boot:7"
    assert get_redis().exists(f"pickup:{job_id}") == 0


@pytest.mark.usefixtures("_redis")
@pytest.mark.parametrize("budget_s", [0.03, 0.3])
def test_nothing_is_heard_within_the_budget(budget_s):
    announce(new_id(), "somebody else's")
    began = time.monotonic()

    assert heard(new_id(), budget_s) is None

    assert budget_s * 0.9 < time.monotonic() - began < budget_s + 0.5


def test_a_redis_that_is_away_costs_the_worker_nothing_but_the_news():
    with pointed(redis_url=f"redis://127.0.0.1:{free_port()}/0"):
        began = time.monotonic()

        announce("j", "w")

        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("budget_s", [0.03, 0.6])
def test_without_redis_the_worker_still_gets_its_time_and_the_submitter_hears_nothing(budget_s):
    with pointed(redis_url=f"redis://127.0.0.1:{free_port()}/0"):
        began = time.monotonic()

        # Who waits looks at the row afterwards; looking at once would run here what a worker is about to claim.
        assert heard("j", budget_s) is None

        assert budget_s * 0.9 < time.monotonic() - began < budget_s + 0.5


def test_a_redis_that_comes_back_in_time_brings_the_news(own_redis: RedisServer):
    job_id = new_id()
    with pointed(redis_url=own_redis.url):
        own_redis.kill()
        ears: list[str | None] = []
        waiting = Thread(target=lambda: ears.append(heard(job_id, 10)))
        waiting.start()
        own_redis.start()
        eventually("Redis is back", lambda: announced(job_id))
        waiting.join(15)

    assert ears == ["host:boot:7"]


def announced(job_id: str) -> bool:
    try:
        get_redis().ping()
    except redis.RedisError:
        return False
    announce(job_id, "host:boot:7")
    return True


def test_a_redis_that_is_frozen_costs_no_more_than_its_time_out_and_the_budget(own_redis: RedisServer):
    with pointed(redis_url=own_redis.url):
        get_redis().ping()
        own_redis.freeze()
        began = time.monotonic()
        announce("j", "w")
        assert time.monotonic() - began < 1

        began = time.monotonic()
        assert heard("j", 1) is None
        assert 0.9 < time.monotonic() - began < 2
