"""Circuits of endpoints, as deliveries meet them: what opens one, who is held back, and when all go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from celadon.delegation import circuits, lookups
from celadon.delegation.circuits import Circuits
from celadon.delegation.client import NotConnected
from celadon.delegation.file import table as registered
from celadon.errors import Postponed
from celadon.ledger import circuits as rows
from celadon.ledger import switches
from celadon.ledger.circuits import FAILURES, troubled
from celadon.ledger.db import at, begin
from celadon.ledger.tables import circuits as table
from celadon.states import State
from tests.contract.given import row
from tests.eventually import eventually
from tests.servers import FeatureServer
from tests.servers.feature import Peer, Received, succeed
from tests.servers.process import free_port
from tests.unit.celadon.delegation.conftest import Register
from tests.unit.celadon.delegation.test_delivering import an_email, due_in_s, found, run

pytestmark = pytest.mark.usefixtures("ledger")

QUEUES = ["email", "letters"]


@pytest.fixture
def back(register: Register) -> Iterator[FeatureServer]:
    """A service that was away for long enough, and is back."""
    port = free_port()
    register(f"http://127.0.0.1:{port}")
    open_the_circuit()
    server = FeatureServer(port=port)
    server.start()
    let_its_time_come()
    yield server
    server.stop()


def open_the_circuit() -> None:
    for _ in range(FAILURES):
        run(an_email())
    assert troubled()["mail"].open


def let_its_time_come() -> None:
    with begin() as connection:
        connection.execute(table.update().values(open_until=at(-0.01)))
    circuits.forget()
    for queue in ("email", "letters"):
        switches.resume("queue", queue)


def test_after_five_refused_connections_jobs_are_held_back_and_no_try_is_burnt(register: Register) -> None:
    register(f"http://127.0.0.1:{free_port()}")
    open_the_circuit()
    assert switches.paused() == {("queue", "email"), ("queue", "letters")}
    switches.resume("queue", "email")
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert found(job_id).attempt == 0
    assert "the circuit of mail is open" in (found(job_id).attempts[0].error or "")
    assert 0 < due_in_s(job_id) < 4


def test_the_first_that_connects_closes_it(back: FeatureServer) -> None:
    assert run(an_email()).state == State.SUCCEEDED

    assert (troubled(), switches.paused()) == ({}, set())


def test_while_one_tries_the_others_are_held_back_for_no_longer_than_connecting_takes(back: FeatureServer) -> None:
    assert circuits.shared.admit(registered(), registered().entries["email"], probe_s=9)
    switches.resume("queue", "email")
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED

    assert back.received == []
    assert 0 < due_in_s(job_id) < 9 * 1.2


def test_once_the_elected_is_connected_the_others_go_on_however_long_its_answer_takes(back: FeatureServer) -> None:
    trying, go_on = threading.Event(), threading.Event()

    def slowly(peer: Peer, received: Received) -> None:
        trying.set()
        go_on.wait(10)
        succeed()(peer, received)

    back.posts = [slowly]
    elected, other = an_email(), an_email()
    thread = threading.Thread(target=run, args=(elected,))
    thread.start()
    assert trying.wait(10)
    eventually("it is told", lambda: not troubled())

    assert run(other).state == State.SUCCEEDED

    assert row(elected).state == State.RUNNING
    go_on.set()
    thread.join(10)
    assert row(elected).state == State.SUCCEEDED


def test_who_is_elected_holds_the_others_back_only_for_as_long_as_connecting_may_take(
    back: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(back.url, timeout="450000", connect_timeout="2000")
    told: list[float | None] = []

    def dies(*_: object) -> None:
        told.append(troubled()["mail"].open_for_s)
        raise KeyboardInterrupt

    monkeypatch.setattr("celadon.delegation.client.exchange", dies)
    with pytest.raises(KeyboardInterrupt):
        run(an_email())

    assert told == [pytest.approx(9, abs=1)]


@pytest.mark.parametrize("lacking", ["keys", "an address that is allowed"])
def test_who_can_not_try_is_not_elected(
    lacking: str, back: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking == "keys":
        register(back.url, keys='{ env = "NOT_SET_ANYWHERE" }')
    else:
        monkeypatch.setattr(lookups, "shared", lookups.Lookups(lambda _: ("169.254.169.254",)))
        register(f"http://mail.test:{back.port}")

    run(an_email())

    open_for_s = troubled()["mail"].open_for_s
    assert open_for_s is not None
    assert open_for_s <= 0


def test_a_queue_s_own_mistake_does_not_open_the_circuit_of_its_neighbours(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "shared", lookups.Lookups(lambda _: ("127.0.0.1",)))
    register(f"http://mail.test:{feature.port}", networks="[]")

    for _ in range(FAILURES + 1):
        job_id = an_email()
        assert run(job_id).state == State.SCHEDULED

    assert "is not allowed" in ((found(job_id).error or {})["message"] or "")
    assert (troubled(), switches.paused()) == ({}, set())


@pytest.mark.parametrize(("connect_timeout", "opens"), [("100", False), ("2000", True)])
def test_a_queue_with_less_patience_than_its_neighbours_speaks_for_itself_alone(
    connect_timeout: str, opens: bool, register: Register
) -> None:
    register("http://127.0.0.1:4010", connect_timeout=connect_timeout)
    email = registered().entries["email"]

    for _ in range(FAILURES):
        late = NotConnected(reason="no connection in time", timed_out=True)
        circuits.shared.tell(registered(), email, late, probe=False)

    assert ("mail" in troubled()) is opens


def test_a_process_that_looked_before_it_was_closed_lets_its_jobs_through(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    for _ in range(FAILURES):
        rows.failed("mail", "refused", QUEUES, probe=False)
    with pytest.raises(Postponed):
        circuits.shared.admit(registered(), registered().entries["email"], probe_s=9)
    assert rows.connected("mail", QUEUES, probe=True)

    assert run(an_email()).state == State.SUCCEEDED


def test_one_that_is_closed_between_two_looks_holds_nobody_back(
    back: FeatureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object, **__: object) -> bool:
        rows.connected("mail", QUEUES, probe=True)
        return False

    monkeypatch.setattr(rows, "elect", too_late)

    assert run(an_email()).state == State.SUCCEEDED


def test_a_success_is_one_though_its_circuit_can_not_be_told(
    back: FeatureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadlock(*_: object, **__: object) -> bool:
        raise OperationalError("UPDATE", {}, RuntimeError("deadlock detected"))

    monkeypatch.setattr(rows, "connected", deadlock)
    monkeypatch.setattr(rows, "failed", deadlock)
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    shared, entry = Circuits(), registered().entries["email"]
    shared.tell(registered(), entry, NotConnected(reason="refused"), probe=False)
