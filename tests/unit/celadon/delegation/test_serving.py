"""The fleet's port: who has it, and what is told on it when the ledger stands still."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from celadon import deadline
from celadon.delegation import serving, status
from celadon.settings import overridden
from tests.eventually import eventually
from tests.servers.process import free_port


@pytest.fixture
def port() -> Iterator[int]:
    free = free_port()
    with overridden(port=free):
        yield free
        serving.stop()


def ask(port: int, path: str) -> tuple[int, object]:
    """What is answered; (0, None): nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ports that were tried for."""
    tried: list[int] = []
    serve = serving._serve

    async def counted(host: str, port: int) -> None:
        tried.append(port)
        await serve(host, port)

    monkeypatch.setattr(serving, "_serve", counted)
    monkeypatch.setattr(serving, "AGAIN_S", 0.02)
    return tried


def test_a_port_that_is_taken_is_served_on_once_it_is_free(
    port: int, tries: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "status", lambda: {"queues": []})
    with capture_logs() as logs:
        with socket.create_server(("127.0.0.1", port)):
            serving.start()
            eventually("it is tried again", lambda: len(tries) >= 3)
        eventually("the fleet is told of", lambda: ask(port, "/internal/status") == (200, {"queues": []}))

    assert [one["event"] for one in logs] == ["fleet.not_served", "fleet.served"]


def test_who_ends_while_the_port_is_taken_tries_no_more(port: int, tries: list[int]) -> None:
    with socket.create_server(("127.0.0.1", port)):
        serving.start()
        trying = serving._trying
        serving.stop()

    assert trying is not None
    assert trying.cancelled()
    assert ask(port, "/health") == (0, None)


def test_a_ledger_that_stands_still_keeps_nobody_who_asks_for_the_status(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(status, "status", goes_on.wait)
    monkeypatch.setattr(serving, "STATUS_MOST_S", 0.1)
    serving.start()
    try:
        assert ask(port, "/internal/status") == (503, {"error": "the ledger does not answer"})
    finally:
        goes_on.set()
        deadline.reset()
