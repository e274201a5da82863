"""Answers of the resolver are remembered for as long as is said, and for a while longer when it fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from celadon.delegation import lookups
from celadon.delegation.lookups import RETRY_S, STALE_S, Lookups, literal
from celadon.errors import Unresolved
from tests.eventually import eventually

AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class World:
    """A clock and a resolver that do as they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answer: Exception | tuple[str, ...] = ("8.8.8.8",)
        self.asked = 0
        self.lookups = Lookups(self._ask, lambda: self.now)

    def _ask(self, host: str) -> tuple[str, ...]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def look(self, age_s: float = 30.0) -> tuple[str, ...]:
        return self.lookups.addresses("mail.example", age_s)


@pytest.fixture
def world() -> World:
    return World()


def test_an_answer_is_good_for_its_age_and_then_asked_for_again(world) -> None:
    world.look()
    world.answer = ("1.1.1.1",)
    world.now += 29.9
    assert (world.look(), world.asked) == (("8.8.8.8",), 1)

    world.now += 0.2
    assert (world.look(), world.asked) == (("1.1.1.1",), 2)


def test_a_resolver_that_fails_leaves_the_old_answer_for_a_while_and_says_so_once(world) -> None:
    world.look()
    world.answer = AWAY
    world.now += 31

    with capture_logs() as logs:
        for _ in range(100):
            assert world.look() == ("8.8.8.8",)
            world.now += RETRY_S
    assert world.asked == 1 + 100  # Once in RETRY_S, however many want to know.
    assert [entry["event"] for entry in logs] == ["delegation.resolver_fails"]

    world.now += STALE_S - 100
    with pytest.raises(Unresolved, match=r"the resolver does not answer for 'mail.example': .*Temporary failure"):
        world.look()


def test_while_it_fails_it_is_not_asked_by_everybody(world) -> None:
    world.look()
    world.answer = AWAY
    world.now += 31

    for _ in range(50):
        world.look()

    assert world.asked == 2


def test_that_it_answers_again_is_said_too(world) -> None:
    world.look()
    world.answer = AWAY
    world.now += 31
    world.look()
    world.answer = ("1.1.1.1",)
    world.now += 5

    with capture_logs() as logs:
        assert world.look() == ("1.1.1.1",)

    assert [(entry["event"], entry["after_s"]) for entry in logs] == [("delegation.resolver_answers", 5.0)]


def test_a_name_that_is_gone_is_gone_at_once_for_its_old_addresses_may_be_somebody_elses(world) -> None:
    world.look()
    world.answer = Unresolved("'mail.example' has no address")
    world.now += 31

    with pytest.raises(Unresolved, match="has no address"):
        world.look()
    world.answer = AWAY
    with pytest.raises(Unresolved, match="does not answer"):
        world.look()


def test_without_any_answer_yet_a_failure_is_told(world) -> None:
    world.answer = AWAY

    with pytest.raises(Unresolved, match="does not answer"):
        world.look()


def test_of_many_that_ask_at_once_one_waits_for_the_resolver() -> None:
    go, asked = threading.Event(), []

    def slow(host: str) -> tuple[str, ...]:
        asked.append(host)
        go.wait(10)
        return ("8.8.8.8",)

    known, answers = Lookups(slow), []
    threads = [threading.Thread(target=lambda: answers.append(known.addresses("a", 30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually("somebody asks", lambda: asked)
    go.set()
    for thread in threads:
        thread.join(10)

    assert (asked, answers) == (["a"], [("8.8.8.8",)] * 8)


def test_whoever_has_an_old_answer_does_not_wait_for_a_new_one() -> None:
    go, asking, now = threading.Event(), threading.Event(), [0.0]

    def slow_at_the_second(host: str) -> tuple[str, ...]:
        if now[0]:
            asking.set()
            go.wait(10)
            return ("1.1.1.1",)
        return ("8.8.8.8",)

    known = Lookups(slow_at_the_second, lambda: now[0])
    known.addresses("a", 30)
    now[0] = 31.0
    renewing = threading.Thread(target=known.addresses, args=("a", 30))
    renewing.start()
    asking.wait(10)

    assert known.addresses("a", 30) == ("8.8.8.8",)

    go.set()
    renewing.join(10)
    assert known.addresses("a", 30) == ("1.1.1.1",)


def test_hosts_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "MOST", 10)
    known = Lookups(lambda host: ("8.8.8.8",))

    for number in range(25):
        known.addresses(f"host-{number}", 30)

    assert len(known._hosts) <= 10


@pytest.mark.parametrize("errno", [socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)])
def test_the_system_says_whether_a_name_is_gone_or_nobody_knows(monkeypatch: pytest.MonkeyPatch, errno: int) -> None:
    def failing(error: OSError) -> Callable[..., None]:
        def ask(*_: object, **__: object) -> None:
            raise error

        return ask

    monkeypatch.setattr(socket, "getaddrinfo", failing(socket.gaierror(errno, "Name or service not known")))
    with pytest.raises(Unresolved, match="'gone.example' has no address: Name or service not known"):
        lookups.ask_the_system("gone.example")

    monkeypatch.setattr(socket, "getaddrinfo", failing(AWAY))
    with pytest.raises(socket.gaierror):
        lookups.ask_the_system("gone.example")


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("0x7f.1", ("127.0.0.1",)),
        ("2852039166", ("169.254.169.254",)),
        ("::1", ("::1",)),
        ("localhost", ("127.0.0.1",)),
        ("mail.localhost", ("127.0.0.1",)),
        ("mail.example", ()),
        ("x\x00", ()),
        ("a" * 70, ()),
    ],
)
def test_what_needs_no_resolver_is_told_without_one(host: str, addresses: tuple[str, ...]) -> None:
    assert literal(host) == addresses
