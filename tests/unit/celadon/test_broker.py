"""Telling the broker, behind one circuit, with a real Redis that is killed and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celadon import broker
from celadon.broker import NotSent
from celadon.delegation import file as registration
from celadon.ids import new_id
from tests.contract.given import race
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import RedisServer, TcpProxy
from tests.servers.process import free_port

# The producer's own bounds (0.1 s to connect, 0.15 s to be answered), and room for a machine that is busy.
BOUND_S = 0.6


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Nobody listens where the broker should be."""
    port = free_port()
    with pointed(use_broker="true", broker_url=f"redis://127.0.0.1:{port}/0", redis_url=None):
        yield port


def send() -> str:
    job_id = new_id()
    broker.send(job_id, "unit.deferred", "data_sync")
    return job_id


def not_sent() -> tuple[NotSent, float]:
    began = time.monotonic()
    with pytest.raises(NotSent) as error:
        send()
    return error.value, time.monotonic() - began


def test_a_message_goes_to_its_queue_by_name(broker_of_its_own: RedisServer):
    job_id = send()

    with broker_of_its_own.client() as client:
        (message,) = client.lrange("data_sync", 0, -1)
    assert job_id in message
    assert '"celadon": 1' in message


def test_a_wiped_broker_needs_nothing_to_be_set_up_again(broker_of_its_own: RedisServer):
    send()
    broker_of_its_own.wipe()

    send()

    with broker_of_its_own.client() as client:
        assert client.llen("data_sync") == 1


def test_a_closed_port_is_told_at_once_and_opens_the_circuit(closed_port):
    error, took = not_sent()

    assert "refused" in error.reason
    assert error.maybe is False
    assert took < BOUND_S
    assert broker.circuit.open


def test_who_waited_for_a_producer_while_the_circuit_opened_does_not_try(closed_port, monkeypatch):
    @contextmanager
    def long_awaited():
        broker.circuit.trip("meanwhile")
        yield

    monkeypatch.setattr(broker.app, "producer_or_acquire", long_awaited)

    assert not_sent()[0].reason == "the broker is away (meanwhile)"


def test_while_the_circuit_is_open_nobody_waits(closed_port):
    not_sent()

    answers = [not_sent() for _ in range(20)]

    assert sorted(seconds for _, seconds in answers)[-2] < 0.02
    assert answers[0][0].reason.startswith("the broker is away (connection refused")


def test_the_circuit_closes_by_itself_when_the_broker_is_back(broker_of_its_own: RedisServer):
    send()
    broker_of_its_own.kill()
    not_sent()
    assert broker.circuit.open

    broker_of_its_own.start()

    eventually("the circuit closes", lambda: not broker.circuit.open)
    send()


def test_the_first_send_after_a_quick_restart_does_not_hang(broker_of_its_own: RedisServer):
    send()
    broker_of_its_own.restart_empty()

    began = time.monotonic()
    try:
        send()
    except NotSent:
        eventually("the circuit closes", lambda: not broker.circuit.open)
        send()

    assert time.monotonic() - began < 3


def test_a_broker_that_takes_the_message_but_does_not_answer_is_a_maybe(ledger, proxied_redis: TcpProxy, own_redis):
    url = own_redis.url_through(proxied_redis.port)
    with pointed(ledger_url=ledger, use_broker="true", broker_url=url, redis_url=None):
        send()
        proxied_redis.deaf()

        error, took = not_sent()

        assert error.maybe
        assert "no answer in time" in error.reason
        assert took < BOUND_S
        assert broker.circuit.open
        with own_redis.client() as client:
            eventually("it has arrived all the same", lambda: client.llen("data_sync") == 2)


def fill(client: Any) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")


def make_room(client: Any) -> None:
    client.config_set("maxmemory", "0")


def make_read_only(client: Any) -> None:
    client.config_set("replica-read-only", "yes")
    client.replicaof("127.0.0.1", str(free_port()))


def make_writable(client: Any) -> None:
    client.replicaof("NO", "ONE")


@pytest.mark.parametrize("apart", [False, True], ids=["with the flags", "a Redis of its own"])
@pytest.mark.parametrize(
    ("spoil", "mend"), [(fill, make_room), (make_read_only, make_writable)], ids=["full", "read-only"]
)
def test_a_broker_that_takes_no_writes_is_as_good_as_away(broker_of_its_own: RedisServer, spoil, mend, apart):
    other = f"redis://127.0.0.1:{free_port()}/0" if apart else None
    with pointed(broker_url=broker_of_its_own.url, redis_url=other), broker_of_its_own.client() as client:
        assert broker.reachable()
        spoil(client)

        error, _ = not_sent()

        assert "refused by the broker" in error.reason
        assert (error.maybe, error.lasting) == (False, True)
        assert broker.circuit.open
        # It answers a ping all the while; nobody is to take that for a broker.
        assert client.ping()
        assert not broker.reachable()

        mend(client)
        eventually("the circuit closes", lambda: not broker.circuit.open)
        send()


def test_a_queue_that_is_not_declared_is_told_and_says_nothing_of_the_broker(broker_of_its_own: RedisServer):
    with pytest.raises(NotSent, match="no queue of that name is declared") as error:
        broker.send(new_id(), "unit.deferred", "removed_last_week")

    assert (error.value.maybe, error.value.lasting) == (False, False)
    assert not broker.circuit.open
    send()


def test_a_queue_of_the_registration_file_is_sent_to_as_soon_as_the_file_has_it(
    broker_of_its_own: RedisServer, tmp_path: Path
):
    file = tmp_path / "delegation.toml"
    file.write_text("[queues]\n")
    with pointed(delegation_file=str(file), broker_url=broker_of_its_own.url):
        registration.forget()
        with pytest.raises(NotSent, match="no queue of that name is declared"):
            broker.send(new_id(), "unit.deferred", "brand-new")

        file.write_text('[services]\na = "https://a.example"\n[queues.brand-new]\nservice = "a"\n')
        eventually("it is read", lambda: "brand-new" in registration.table().entries)
        broker.send(new_id(), "unit.deferred", "brand-new")
        broker.send_many([(new_id(), "unit.deferred", "brand-new")] * 2)

        with broker_of_its_own.client() as client:
            assert client.llen("brand-new") == 3
    registration.forget()


def test_the_probe_leaves_nothing_behind(broker_of_its_own: RedisServer):
    assert broker.reachable()

    with broker_of_its_own.client() as client:
        assert client.keys("*") in ([], [broker.PROBE_KEY])
        assert client.pttl(broker.PROBE_KEY) <= 1000


def test_more_senders_than_connections_are_answered_and_open_no_circuit(broker_of_its_own: RedisServer):
    def attempt(_: int) -> str:
        try:
            send()
        except NotSent as error:
            return f"{error.reason}, lasting" if error.lasting else error.reason
        return "sent"

    answers = race(30, attempt)

    assert set(answers) <= {"sent", "all connections to the broker are in use"}
    assert not broker.circuit.open
    with broker_of_its_own.client() as client:
        assert client.llen("data_sync") == answers.count("sent") >= 10


def test_whether_the_broker_can_be_reached_is_asked_within_bounds(broker_of_its_own: RedisServer):
    assert broker.reachable()
    broker_of_its_own.freeze()

    began = time.monotonic()
    assert not broker.reachable()

    assert time.monotonic() - began < BOUND_S


def test_a_broker_that_is_not_the_redis_of_the_flags_is_asked_by_itself(broker_of_its_own: RedisServer):
    with pointed(redis_url=f"redis://127.0.0.1:{free_port()}/0", broker_url=broker_of_its_own.url):
        assert broker.reachable()
        broker_of_its_own.kill()
        began = time.monotonic()
        assert not broker.reachable()
        assert time.monotonic() - began < BOUND_S
