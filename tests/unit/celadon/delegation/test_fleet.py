"""What a worker of the fleet consumes: of the registration file's queues those whose limits stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from celadon import limits, queues
from celadon.app import app
from celadon.delegation import file, fleet
from celadon.errors import CeladonError
from celadon.lanes import DELEGATED
from celadon.ledger import registrations
from celadon.ledger.limits import set_limits
from celadon.limits import Limit
from celadon.queues import Lane
from celadon.settings import overridden
from celadon.worker import post
from tests.unit.celadon.delegation.conftest import Register


@pytest.fixture(autouse=True)
def registered(ledger: str, register: Register) -> Iterator[None]:
    """A file with the queues `email` and `letters`, that no scheduler has yet."""
    register("http://127.0.0.1:4010")
    yield
    file.fit(None)


def hold(digest: str = "one", *names: str) -> None:
    """A scheduler has a version of the file: this one, or one with these queues."""
    rules = {("queue", name): (Limit(concurrency=1),) for name in names} or limits.registered()
    registrations.hold(digest, rules, changed=False)  # type: ignore[arg-type]


def lane(concurrency: int = 256) -> Lane:
    return replace(queues.lane(DELEGATED), concurrency=concurrency)


def test_a_queue_is_consumed_once_its_limits_stand() -> None:
    assert fleet.wanted() == ()

    hold("older", "email")
    assert fleet.wanted() == ("email",)

    hold()
    assert set(fleet.wanted()) == {"email", "letters"}


def test_a_queue_that_is_taken_out_and_put_back_is_consumed_once_its_limits_stand_again() -> None:
    hold()
    hold("newer", "email")

    assert fleet.wanted() == ("email",)


def test_a_queue_that_an_operator_wants_unlimited_is_consumed() -> None:
    set_limits("queue", "letters", [], actor="test")

    assert fleet.wanted() == ("letters",)


class Consuming:
    """What is asked of Celery's consumer."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_queue(self, queue: Any) -> None:
        self.names.add(queue.name)

    def cancel_by_queue(self, name: str) -> None:
        self.names.discard(name)

    def consuming_from(self, name: str) -> bool:
        return name in self.names

    def consume(self) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[tuple[Consuming, Any]]:
    """A worker that has just begun, and its consumer."""
    post.take(fleet.begin(lane()), boot="host:boot")
    consuming = Consuming()
    consumer = SimpleNamespace(task_consumer=consuming, call_soon=lambda call, *words: call(*words))
    before, app.amqp.queues._consume_from = app.amqp.queues._consume_from, {}
    yield consuming, SimpleNamespace(consumer=consumer)
    app.amqp.queues._consume_from = before


def test_a_worker_follows_the_limits_and_keeps_what_it_has_while_the_ledger_is_away(
    worker: tuple[Consuming, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    consuming, parent = worker
    step = fleet.FleetStep(parent)
    step.look(parent)
    assert (consuming.names, post.post().lane.queues) == (set(), ())

    hold()
    step.look(parent)
    assert consuming.names == {"email", "letters"} == set(post.post().lane.queues)

    with overridden(ledger_url="sqlite:////nowhere/ledger.db"):
        step.look(parent)
    assert consuming.names == {"email", "letters"}


def test_a_worker_with_fewer_slots_than_deliveries_is_refused_with_the_reason() -> None:
    with pytest.raises(CeladonError, match=r"make 10, and this worker has 9 slots, so .*--concurrency"):
        fleet.begin(lane(concurrency=9))

    fleet.begin(lane(concurrency=10))


def test_a_changed_file_is_judged_by_the_worker_s_slots(register: Register) -> None:
    fleet.begin(lane(concurrency=10))
    with pytest.raises(AssertionError, match="make 11, and there are 10 slots"):
        register("http://127.0.0.1:4010", concurrency="6")


def test_without_the_http_client_a_worker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("client", "serving"):
        monkeypatch.delitem(sys.modules, f"celadon.delegation.{name}", raising=False)

    with pytest.raises(CeladonError, match=r"pip install 'celadon\[delegation\]'"):
        fleet.begin(lane())
