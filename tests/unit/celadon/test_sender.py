"""The sender: what the ledger says is to be sent, through a broker that does not take all of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from celadon import broker
from celadon.broker import NotSent
from celadon.ledger import moving, sending, switches
from celadon.ledger.db import at
from celadon.ledger.sending import ToSend
from celadon.sender import Sender, broker_depth
from tests.contract.given import a_claim, a_job, change, row
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import RedisServer, TcpProxy

pytestmark = pytest.mark.usefixtures("ledger")


def unsent(queue: str = "data_sync") -> str:
    """A job that came into `queued` without being sent."""
    job_id = a_job("unit.deferred", queue=queue)
    moving.hold(job_id)
    moving.release()
    return job_id


def again_in_s(job_id: str) -> float:
    """Seconds until it is sent again."""
    return float((row(job_id).send_due - row(a_job()).created_at).total_seconds())


def messages(server: RedisServer, queue: str = "data_sync") -> int:
    with server.client() as client:
        return int(client.llen(queue))


def test_what_is_unsent_is_sent_once(broker_of_its_own: RedisServer):
    for _ in range(3):
        unsent()

    assert [Sender().turn(), Sender().turn()] == [3, 0]

    assert messages(broker_of_its_own) == 3


def test_a_queue_that_is_gone_keeps_no_other_job_from_being_sent(broker_of_its_own: RedisServer):
    first, lost, last = unsent(), unsent("removed_last_week"), unsent()

    assert Sender().turn() == 2

    assert messages(broker_of_its_own) == 2
    assert [row(job_id).sends for job_id in (first, lost, last)] == [1, 1, 1]
    # It stays as it was taken: asking again at once would be in vain.
    assert again_in_s(lost) > 3
    assert not broker.circuit.open


def test_with_the_broker_away_nothing_is_taken(broker_of_its_own: RedisServer):
    job_id = unsent()
    broker.circuit.trip("for the test")

    assert Sender().turn() == 0

    assert row(job_id).sends == 0


def test_with_the_broker_switched_off_nothing_is_taken():
    job_id = unsent()

    assert Sender().turn() == 0

    assert row(job_id).sends == 0


def test_a_broker_that_went_away_leaves_all_to_be_sent_soon(broker_of_its_own: RedisServer):
    jobs = [unsent() for _ in range(3)]
    broker_of_its_own.kill()

    assert Sender().turn() == 0

    assert [row(job_id).sends for job_id in jobs] == [0, 0, 0]
    assert all(again_in_s(job_id) < 1 for job_id in jobs)


def test_what_may_have_arrived_stays_taken_and_the_rest_is_sent_soon(ledger, proxied_redis: TcpProxy, own_redis):
    url = own_redis.url_through(proxied_redis.port)
    with pointed(ledger_url=ledger, use_broker="true", broker_url=url, redis_url=None):
        broker.send("warm", "unit.deferred", "data_sync")
        maybe, rest = [unsent() for _ in range(3)], [unsent("scheduled") for _ in range(2)]
        proxied_redis.deaf()

        assert Sender().turn() == 0

        # These did arrive; sent again at once they would come twice.
        with own_redis.client() as client:
            eventually("they have arrived", lambda: client.llen("data_sync") == 4)
            assert client.llen("scheduled") == 0
        assert [row(job_id).sends for job_id in maybe] == [1, 1, 1]
        assert all(again_in_s(job_id) > 3 for job_id in maybe)
        assert [row(job_id).sends for job_id in rest] == [0, 0]
        assert all(again_in_s(job_id) < 1 for job_id in rest)


def test_a_broker_that_fills_up_may_have_taken_a_part(broker_of_its_own: RedisServer):
    broker.send("warm", "unit.deferred", "data_sync")
    job_id = unsent()
    with broker_of_its_own.client() as client:
        client.config_set("maxmemory", "1")

    assert Sender().turn() == 0

    assert row(job_id).sends == 1
    assert broker.circuit.open


def test_a_failure_in_the_midst_keeps_what_went_before(broker_of_its_own: RedisServer, monkeypatch):
    jobs = [unsent(queue) for queue in ("data_sync", "data_sync", "default", "scheduled")]

    def send_many(jobs: list[ToSend]) -> None:
        if jobs[0].queue == "default":
            raise NotSent("for the test")

    monkeypatch.setattr(broker, "send_many", send_many)

    assert Sender().turn() == 2

    assert [row(job_id).sends for job_id in jobs] == [1, 1, 0, 0]


def overdue(times: int) -> list[str]:
    """Jobs that were sent, and that nobody has claimed in time."""
    jobs = [a_job("unit.deferred", queue="data_sync") for _ in range(times)]
    for job_id in jobs:
        change(job_id, send_due=at(-1))
    return jobs


def test_what_is_lost_on_the_way_is_sent_again(broker_of_its_own: RedisServer):
    overdue(3)

    assert Sender().turn() == 3

    assert messages(broker_of_its_own) == 3


def test_a_backlog_that_is_on_the_broker_is_not_doubled(broker_of_its_own: RedisServer):
    jobs = overdue(4)
    for job_id in jobs[:3]:
        broker.send(job_id, "unit.deferred", "data_sync")

    assert Sender().turn() == 1

    assert messages(broker_of_its_own) == 4


def test_messages_that_a_worker_has_in_hand_are_counted_with_those_that_wait(broker_of_its_own: RedisServer):
    broker.send("a", "unit.deferred", "data_sync")
    with broker_of_its_own.client() as client:
        now = int(client.time()[0])
        client.zadd("unacked_index:data_sync", {"just delivered": now, "of a dead worker": now - 60})

    assert broker_depth("data_sync") == 2


def test_a_queue_that_no_lane_works_can_be_counted_all_the_same(broker_of_its_own: RedisServer):
    assert broker_depth("removed_last_week") == 0


def test_the_depth_of_a_broker_that_is_away_is_not_known(broker_of_its_own: RedisServer):
    broker_of_its_own.kill()

    assert broker_depth("data_sync") is None


def test_resends_are_looked_at_less_often_than_first_sends(broker_of_its_own: RedisServer):
    made = Sender()
    made.turn()

    overdue(1)
    unsent()
    assert made.turn() == 1
    assert messages(broker_of_its_own) == 1

    made._next_resend = 0.0
    assert made.turn() == 1


@pytest.fixture
def started(broker_of_its_own: RedisServer) -> Iterator[Sender]:
    made = Sender()
    made.start()
    yield made
    made.stop()


def test_a_started_sender_sends_by_itself_until_it_is_stopped(started, broker_of_its_own: RedisServer):
    unsent()
    started.wake()
    eventually("the first is sent", lambda: messages(broker_of_its_own) == 1)

    began = time.monotonic()
    started.stop()

    assert time.monotonic() - began < 2
    unsent()
    started.wake()
    assert len(sending.take_unsent()) == 1


def test_a_sender_outlives_a_bug_and_a_ledger_that_is_away(started, broker_of_its_own: RedisServer, monkeypatch):
    failed: list[int] = []

    def fail(*_: object) -> Any:
        failed.append(1)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(sending, "take_unsent", fail)
        started.wake()
        eventually("it failed", lambda: failed)

    unsent()
    eventually("it goes on", lambda: messages(broker_of_its_own) == 1)


def test_what_an_operator_took_off_the_broker_stays_where_it_is(broker_of_its_own: RedisServer):
    job_id = unsent()
    switches.turn("queue", "data_sync", use_broker=False)

    assert Sender().turn() == 0
    assert row(job_id).sends == 0


def test_a_claimed_job_is_not_sent(broker_of_its_own: RedisServer):
    a_claim(unsent())

    assert Sender().turn() == 0
