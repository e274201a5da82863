"""Both sides for real: deliveries to a service that has the kit, over HTTP, signed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celadon.states import State
from celadon_feature import Delivery, Feature, Permanent, SqliteStore, new_key
from tests.servers import FeatureServer
from tests.servers.feature import Peer, Received, cut
from tests.unit.celadon.delegation.conftest import Register
from tests.unit.celadon.delegation.test_delivering import an_email, found, run

pytestmark = pytest.mark.usefixtures("ledger")

Handler = Callable[[Delivery], Any]


@pytest.fixture
def serve(
    feature: FeatureServer, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Handler], None]:
    """Puts a handler of `email` behind the service, with keys that both sides know."""
    key = new_key()
    monkeypatch.setenv("MAIL_KEYS", key)
    register(feature.url, keys='{ env = "MAIL_KEYS" }', timeout="800")
    kit = Feature(keys=key, store=SqliteStore(str(tmp_path / "kit.db")))

    def behave(peer: Peer, received: Received) -> None:
        told = kit.handle(received.method, received.path, received.headers, received.body)
        peer.head(told.status, *(f"{name}: {value}" for name, value in told.headers.items()), length=len(told.body))
        peer.send(told.body)

    feature.otherwise = {"POST": behave, "GET": behave}

    def handle(handler: Handler) -> None:
        kit.handler("email")(handler)

    return handle


def test_a_job_is_done_once_though_its_answer_is_lost(feature: FeatureServer, serve: Callable[[Handler], None]) -> None:
    did: list[str] = []

    def do(delivery: Delivery) -> int:
        did.append(delivery.job_id)
        return len(did)

    serve(do)

    def lose_the_answer(peer: Peer, received: Received) -> None:
        behave(_Deaf(peer), received)
        cut(peer, received)

    behave = feature.otherwise["POST"]
    feature.posts = [lose_the_answer]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    assert (did, found(job_id).result) == ([job_id], 1)
    assert [received.method for received in feature.received] == ["POST", "GET"]


class _Deaf(Peer):
    """Takes what is said, and passes nothing on."""

    def __init__(self, peer: Peer) -> None:
        self.open = peer.open

    def send(self, data: bytes) -> None:
        """Into nowhere."""


def test_a_job_that_takes_longer_than_its_time_out_is_waited_for(
    feature: FeatureServer, serve: Callable[[Handler], None]
) -> None:
    go_on = threading.Event()

    def slowly(_: Delivery) -> str:
        go_on.wait(10)
        return "late"

    serve(slowly)
    feature.asks = [_opening(go_on, feature.otherwise["GET"])]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    assert found(job_id).result == "late"
    assert len(feature.of("POST")) == 1


def _opening(gate: threading.Event, behave: Callable[[Peer, Received], None]) -> Callable[[Peer, Received], None]:
    def answer_and_open(peer: Peer, received: Received) -> None:
        behave(peer, received)
        gate.set()

    return answer_and_open


def test_a_failure_is_tried_again_and_one_for_good_is_not(serve: Callable[[Handler], None]) -> None:
    tries: list[int] = []

    def fail(delivery: Delivery) -> str:
        tries.append(delivery.attempts_made)
        if delivery.data == "for good":
            raise Permanent("no such address")
        if delivery.attempts_made == 0:
            raise ValueError("no ink")
        return "printed"

    serve(fail)
    again, never = an_email("again"), an_email("for good")

    assert [run(again).state, run(again).state] == [State.SCHEDULED, State.SUCCEEDED]
    assert run(never).state == State.DEAD
    assert tries == [0, 1, 0]
    assert (found(never).error or {})["message"] == "mail: Permanent: no such address"
