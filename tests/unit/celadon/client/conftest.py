"""Both clients, and a real server that misbehaves as told."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from celadon.client import (
    AsyncCeladonClient,
    CeladonClient,
    calls,
    exchange,
)
from tests.unit.celadon.client.given import KEY
from tests.unit.celadon.scripted import Scripted

Call = Callable[..., Any]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A server that answers as told; whoever asks it makes short pauses only."""
    monkeypatch.setattr(exchange, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(calls, "LOOK_AGAIN_S", 0.02)
    with Scripted().serving() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def call(request: pytest.FixtureRequest, server: Scripted) -> Call:
    """`call(method, …)` makes a client and calls its method; what can be iterated over comes as a list."""

    def blocking(method: str, args: Any, options: Any, limits: Any) -> Any:
        # Without the authorities that it would load for https, a client is there at once.
        with httpx.Client(verify=False) as http:
            made = getattr(CeladonClient(server.url, KEY, http=http, **limits), method)(*args, **options)
            return list(made) if inspect.isgenerator(made) else made

    async def awaiting(method: str, args: Any, options: Any, limits: Any) -> Any:
        async with httpx.AsyncClient(verify=False) as http:
            made = getattr(AsyncCeladonClient(server.url, KEY, http=http, **limits), method)(*args, **options)
            return [each async for each in made] if inspect.isasyncgen(made) else await made

    def call(method: str, *args: Any, timeout_s: float = 5, give_up_after_s: float = 5, **options: Any) -> Any:
        limits = {"timeout_s": timeout_s, "give_up_after_s": give_up_after_s}
        if request.param == "blocking":
            return blocking(method, args, options, limits)
        return asyncio.run(awaiting(method, args, options, limits))

    return call
