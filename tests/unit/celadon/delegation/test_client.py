"""One request to an endpoint that behaves or does not: what comes of it, and within which time."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from celadon.delegation import client, lookups, urls
from celadon.delegation.client import Answered, InDoubt, NotConnected, Outcome, Request
from tests.servers import FeatureServer, TcpProxy
from tests.servers.feature import (
    Peer,
    Received,
    answer,
    cut,
    cut_in_the_body,
    hang,
    hang_in_the_body,
    hang_in_the_head,
    succeed,
    then_close,
)
from tests.servers.process import free_port
from tests.unit.celadon.test_fork import in_a_child

SHORT_S = 0.15


def request(url: str, **facts: Any) -> Request:
    told: dict[str, Any] = {
        "method": "POST",
        "headers": {"X-Team": "mail"},
        "body": b'{"jobId": "1"}',
        "connect_s": 2.0,
        "first_byte_s": 5.0,
        "whole_s": 5.0,
        "max_answer_bytes": 10_000,
        "networks": frozenset({"loopback"}),
    }
    return Request(url=urls.parse(url), **{**told, **facts})


def exchange(url: str, **facts: Any) -> Outcome:
    return client.exchange(request(url, **facts))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, ...]]]:
    """What the resolver answers, by name: one answer after the other, the last one again and again."""
    answers: dict[str, list[tuple[str, ...]]] = {}

    def ask(host: str) -> tuple[str, ...]:
        told = answers[host]
        return told.pop(0) if len(told) > 1 else told[0]

    monkeypatch.setattr(lookups, "shared", lookups.Lookups(ask))
    return answers


# --- in good order ----------------------------------------------------------------------------------------------------


def test_an_answer_comes_back_as_it_was_given(feature: FeatureServer) -> None:
    feature.posts = [answer(418, {"a": [1]}, "X-Tea: Pot")]

    outcome = exchange(f"{feature.url}/jobs", headers={"X-Team": "mail", "Idempotency-Key": "1"})

    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.headers["x-tea"], json.loads(outcome.body)) == (418, "Pot", {"a": [1]})
    assert not outcome.cut
    (received,) = feature.received
    assert (received.method, received.path, received.body) == ("POST", "/jobs", b'{"jobId": "1"}')
    assert received.headers["host"] == f"127.0.0.1:{feature.port}"
    assert (received.headers["x-team"], received.key) == ("mail", "1")
    assert "cookie" not in received.headers


def test_requests_one_after_the_other_share_a_connection_and_those_at_once_do_not(feature: FeatureServer) -> None:
    for _ in range(3):
        exchange(feature.url)
    assert feature.connections == 1

    meeting = threading.Barrier(3)

    def meet(peer: Peer, received: Received) -> None:
        meeting.wait(10)
        succeed()(peer, received)

    feature.otherwise["POST"] = meet
    threads = [threading.Thread(target=exchange, args=(feature.url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert feature.connections == 3


def test_redirects_are_answers_and_lead_nowhere(feature: FeatureServer) -> None:
    feature.posts = [answer(302, {}, "Location: http://169.254.169.254/latest/meta-data/")]

    outcome = exchange(feature.url)

    assert isinstance(outcome, Answered)
    assert (outcome.status, len(feature.received)) == (302, 1)


def test_cookies_are_not_kept(feature: FeatureServer) -> None:
    feature.posts = [answer(200, {}, "Set-Cookie: session=1; Path=/")]
    exchange(feature.url)
    exchange(feature.url)

    assert "cookie" not in feature.received[1].headers


def test_proxies_of_the_environment_are_not_asked(feature: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):  # They may spare this host, and so hide that proxies are asked.
        monkeypatch.delenv(name, raising=False)

    assert isinstance(exchange(feature.url), Answered)


# --- surely not sent --------------------------------------------------------------------------------------------------


def test_where_nobody_listens_nothing_was_sent() -> None:
    outcome = exchange(f"http://127.0.0.1:{free_port()}")

    assert isinstance(outcome, NotConnected)
    assert (outcome.tried, outcome.timed_out) == (True, False)
    assert "Connect call failed" in outcome.reason or "refused" in outcome.reason


def test_an_address_that_does_not_answer_is_given_up_in_time() -> None:
    with ExitStack() as stack:
        # Given somebody who lets nobody in any more.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

        began = time.monotonic()
        outcome = exchange(f"http://127.0.0.1:{full.getsockname()[1]}", connect_s=SHORT_S)

    assert isinstance(outcome, NotConnected)
    assert "no connection in time" in outcome.reason
    assert outcome.timed_out
    assert time.monotonic() - began < 2


def test_an_address_that_is_not_allowed_is_not_connected_to(feature: FeatureServer) -> None:
    outcome = exchange(feature.url, networks=frozenset())

    assert isinstance(outcome, NotConnected)
    assert not outcome.tried
    assert 'add networks = ["loopback"]' in outcome.reason
    assert feature.connections == 0


def test_a_name_that_changes_to_an_address_that_is_not_allowed_is_followed_no_more(
    feature: FeatureServer, names: dict[str, Any]
) -> None:
    names["mail.test"] = [("127.0.0.1",), ("169.254.169.254",)]
    url = f"http://mail.test:{feature.port}"

    first, second = exchange(url, age_s=0.0), exchange(url, age_s=0.0)

    assert isinstance(first, Answered)
    assert feature.received[0].headers["host"] == f"mail.test:{feature.port}"
    assert isinstance(second, NotConnected)
    assert "metadata of clouds" in second.reason
    assert len(feature.received) == 1


def test_a_name_of_several_addresses_is_tried_at_each(feature: FeatureServer, names: dict[str, Any]) -> None:
    names["mail.test"] = [("127.0.0.2", "127.0.0.1")]

    assert isinstance(exchange(f"http://mail.test:{feature.port}"), Answered)


def test_a_name_without_an_address_is_not_connected(names: dict[str, Any]) -> None:
    names["mail.test"] = [()]

    assert isinstance(exchange("http://mail.test:4010"), NotConnected)


# --- in doubt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misbehaviour", [hang, hang_in_the_head], ids=["no word", "half a head"])
def test_an_answer_that_does_not_begin_in_time_is_in_doubt(feature: FeatureServer, misbehaviour: Any) -> None:
    feature.posts = [misbehaviour]

    began = time.monotonic()
    outcome = exchange(feature.url, first_byte_s=SHORT_S)

    assert isinstance(outcome, InDoubt)
    assert "no answer in time" in outcome.reason
    assert SHORT_S <= time.monotonic() - began < 2


@pytest.mark.parametrize("misbehaviour", [hang, hang_in_the_head, hang_in_the_body(200)])
def test_an_answer_that_does_not_end_in_time_is_in_doubt(feature: FeatureServer, misbehaviour: Any) -> None:
    feature.posts = [misbehaviour]

    began = time.monotonic()
    outcome = exchange(feature.url, whole_s=SHORT_S)

    assert isinstance(outcome, InDoubt)
    assert SHORT_S <= time.monotonic() - began < 2


@pytest.mark.parametrize("misbehaviour", [cut, cut_in_the_body(200)], ids=["before", "after the head"])
def test_an_answer_that_is_cut_is_in_doubt(feature: FeatureServer, misbehaviour: Any) -> None:
    feature.posts = [misbehaviour]

    assert isinstance(exchange(feature.url), InDoubt)


@pytest.mark.parametrize("misbehaviour", [hang_in_the_body(500), cut_in_the_body(500)], ids=["slow", "cut"])
def test_a_body_that_breaks_off_is_no_doubt_where_the_status_says_enough(
    feature: FeatureServer, misbehaviour: Any
) -> None:
    feature.posts = [misbehaviour]

    outcome = exchange(feature.url, whole_s=0.3)

    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.body, outcome.cut) == (500, b'{"success": true', True)


@pytest.mark.parametrize("words", [b"SMTP ready\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"])
def test_what_is_no_http_is_in_doubt(feature: FeatureServer, words: bytes) -> None:
    def behave(peer: Any, _: object) -> None:
        peer.send(words)
        peer.close()

    feature.posts = [behave]

    assert isinstance(exchange(feature.url), InDoubt)


# --- kept connections -------------------------------------------------------------------------------------------------


def test_a_kept_connection_that_was_closed_while_idle_is_replaced(feature: FeatureServer) -> None:
    feature.posts = [then_close(succeed(1))]
    assert isinstance(exchange(feature.url), Answered)
    # The loop hears of the end while it has to do with somebody else.
    other = FeatureServer()
    other.start()
    exchange(other.url)
    other.stop()

    assert isinstance(exchange(feature.url), Answered)
    assert [received.connection for received in feature.received] == [1, 2]


def test_a_kept_connection_that_is_closed_as_it_is_used_is_in_doubt(feature: FeatureServer) -> None:
    feature.posts = [succeed(1), cut, succeed(2)]
    assert isinstance(exchange(feature.url), Answered)

    # Whether the endpoint has read it can't be told from here, and a POST is not repeated on a guess.
    assert isinstance(exchange(feature.url), InDoubt)
    assert len(feature.received) == 2

    assert isinstance(exchange(feature.url), Answered)


def test_a_question_over_a_kept_connection_that_is_closed_as_it_is_used_is_asked_again(feature: FeatureServer) -> None:
    exchange(feature.url, method="GET", body=None)
    feature.asks = [cut]

    outcome = exchange(feature.url, method="GET", body=None)

    assert isinstance(outcome, Answered)
    assert len(feature.received) == 3


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_no_more_is_read_than_allowed(feature: FeatureServer) -> None:
    feature.posts = [answer(200, body=b"x" * 50_000_000)]

    tracemalloc.start()
    outcome = exchange(feature.url)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(outcome, Answered)
    assert (len(outcome.body), outcome.cut) == (10_000, True)
    # What is read ahead of the answer's reader is in it; a tenth of the answer is not, nor what the server made before.
    assert most < 4_000_000


def test_a_compressed_answer_is_not_unpacked(feature: FeatureServer) -> None:
    bomb = gzip.compress(b"\0" * 8_000_000)
    feature.posts = [answer(200, None, "Content-Encoding: gzip", body=bomb)]

    outcome = exchange(feature.url)

    assert isinstance(outcome, Answered)
    assert outcome.body == bomb
    assert feature.received[0].headers["accept-encoding"] == "identity"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for mail.test that signs itself, with its key."""
    file = tmp_path_factory.mktemp("tls") / "mail.pem"
    names = ["-subj", "/CN=mail.test", "-addext", "subjectAltName=DNS:mail.test"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made = ["openssl", "req", *kind, *names, "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureServer]:
    """A service that proves to be mail.test; this process trusts who signed that."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    client.close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = FeatureServer(tls=context)
    server.start()
    yield server
    client.close()
    server.stop()


def test_a_service_proves_its_name_though_it_is_connected_to_by_address(
    secure: FeatureServer, names: dict[str, Any]
) -> None:
    names["mail.test"] = [("127.0.0.1",)]

    assert isinstance(exchange(f"https://mail.test:{secure.port}"), Answered)


def test_a_service_that_proves_another_name_is_sent_nothing(secure: FeatureServer, names: dict[str, Any]) -> None:
    names["bank.test"] = [("127.0.0.1",)]

    outcome = exchange(f"https://bank.test:{secure.port}")

    assert isinstance(outcome, NotConnected)
    assert secure.received == []


def test_a_connection_that_proved_one_name_is_not_used_for_another(
    secure: FeatureServer, names: dict[str, Any]
) -> None:
    names |= {"mail.test": [("127.0.0.1",)], "bank.test": [("127.0.0.1",)]}
    assert isinstance(exchange(f"https://mail.test:{secure.port}"), Answered)

    assert isinstance(exchange(f"https://bank.test:{secure.port}"), NotConnected)


# --- processes --------------------------------------------------------------------------------------------------------


def test_a_fork_has_connections_of_its_own(feature: FeatureServer) -> None:
    exchange(feature.url)

    def ask() -> list[bool]:
        return [isinstance(exchange(feature.url), Answered), os.getpid() != parent]

    parent = os.getpid()
    assert in_a_child(ask) == [True, True]
    assert isinstance(exchange(feature.url), Answered)
    assert [received.connection for received in feature.received] == [1, 2, 1]


def test_a_network_that_hangs_after_the_connection_is_in_doubt(feature: FeatureServer) -> None:
    proxy = TcpProxy(feature.port)
    proxy.start()
    exchange(f"http://127.0.0.1:{proxy.port}")
    proxy.pause()

    assert isinstance(exchange(f"http://127.0.0.1:{proxy.port}", whole_s=SHORT_S), InDoubt)
    proxy.stop()
