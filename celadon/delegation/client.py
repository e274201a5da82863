"""One request to an endpoint: over connections to judged addresses only, bounded in time and in size.

What comes of it is a value. The one question that matters afterwards is whether the endpoint may have got the request:

- `Answered`: it did, and said so.
- `NotConnected`: it surely did not. There was no connection, so nothing was sent; perhaps none was tried.
- `InDoubt`: there was a connection, and no whole answer. A kept connection that the endpoint closed while it was idle
  is replaced, if that is noticed before the request is on its way; noticed later it is in doubt as anything else, for a
  connection does not tell whether its last words were read.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from celadon.delegation import addresses, loop, urls
from celadon.delegation.entries import Network
from celadon.errors import TargetNotAllowed, Unresolved

# Servers close idle connections after some seconds (Node after 5), and whoever writes at that moment is in doubt.
KEEP_ALIVE_S = 4.0
_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)  # Of a connection, and of what comes over it.
CLOSE_S = 1.0  # What the end of a process waits for its connections to close.


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is sent, where to, and how long it is waited for.

    connect_s: until there is a connection, TLS included. first_byte_s: from then on, until the head of the answer is
    there. whole_s: for all of it, from the beginning. networks: addresses allowed beside public ones. age_s: how long a
    resolver's answer is good for. connected: called in another thread as soon as there is a connection.
    """

    method: str
    url: urls.Url
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    connect_s: float
    first_byte_s: float
    whole_s: float
    max_answer_bytes: int
    networks: frozenset[Network] = frozenset()
    age_s: float = 30.0
    connected: Callable[[], None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """There is an answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    cut: bool = False  # The body is larger than allowed, or broke off where only the status matters.


@dataclass(frozen=True, kw_only=True, slots=True)
class NotConnected:
    """There was no connection: nothing was sent."""

    reason: str
    tried: bool = True  # False: there was no address to try, or one that is not allowed.
    timed_out: bool = False  # There was none within `connect_s`.


@dataclass(frozen=True, kw_only=True, slots=True)
class InDoubt:
    """The request may have been received, and there is no answer."""

    reason: str


Outcome = Answered | NotConnected | InDoubt


def exchange(request: Request) -> Outcome:
    """Send a request and wait for what comes of it. Raises nothing of the endpoint's.

    Not bounded by `connect_s` is the look for a host's addresses: the system's resolver has time-outs of its own.
    """
    try:
        found = addresses.check(request.url.host, request.url.port, request.networks, age_s=request.age_s)
    except (TargetNotAllowed, Unresolved) as refused:
        return NotConnected(reason=str(refused), tried=False)
    return loop.wait_for(_exchange(request, found))


async def _exchange(request: Request, found: Sequence[str]) -> Outcome:
    until = time.monotonic() + min(request.connect_s, request.whole_s)
    whole_until = time.monotonic() + request.whole_s
    outcome: Outcome = NotConnected(reason="it has no address")
    for number, address in enumerate(found):
        # An address where nothing answers leaves time for the others.
        connect_s = (until - time.monotonic()) / (len(found) - number)
        outcome = await _Attempt(request, address, connect_s, whole_until).made()
        if not isinstance(outcome, NotConnected):
            break
    return outcome


class _Attempt:
    """The request over one address."""

    def __init__(self, request: Request, address: str, connect_s: float, whole_until: float) -> None:
        self._request, self._address = request, address
        self._connect_s, self._whole_until = connect_s, whole_until
        self._connected = False
        self._patience = asyncio.timeout(None)

    async def made(self) -> Outcome:
        try:
            try:
                async with self._patience:
                    self._wait(self._connect_s)
                    response = await self._sent()
            except TimeoutError:
                return self._missed("no answer" if self._connected else "no connection", "in time", timed_out=True)
            async with response:
                return await self._read(response)
        except _ERRORS as error:
            return self._missed(_words(error))

    async def _sent(self) -> aiohttp.ClientResponse:
        to = self._request.url
        # The URL has the address, so that nobody looks the name up again; what is said and proven is the name.
        return await _session().request(
            self._request.method,
            URL.build(scheme=to.scheme, host=self._address, port=to.port, path=to.path or "/", encoded=True),
            headers={"Host": to.origin.partition("//")[2], **self._request.headers},
            data=self._request.body,
            allow_redirects=False,
            server_hostname=to.host if to.scheme == "https" else None,
            trace_request_ctx=self,
        )

    def has_connected(self) -> None:
        """Called by the session, from here on until the answer's head is there."""
        self._connected = True
        if self._request.connected is not None:
            asyncio.get_running_loop().run_in_executor(None, self._request.connected)
        self._wait(self._request.first_byte_s)

    def _wait(self, seconds: float) -> None:
        seconds = min(seconds, self._whole_until - time.monotonic())
        self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    async def _read(self, response: aiohttp.ClientResponse) -> Outcome:
        body, cut = bytearray(), False
        try:
            async with asyncio.timeout(self._whole_until - time.monotonic()):
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > self._request.max_answer_bytes:
                        del body[self._request.max_answer_bytes :]
                        cut = True
                        response.close()
                        break
        except (TimeoutError, *_ERRORS) as error:
            response.close()
            if 200 <= response.status < 300:
                return self._missed(f"the answer broke off: {_words(error)}")
            cut = True  # The status says enough.
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answered(status=response.status, headers=headers, body=bytes(body), cut=cut)

    def _missed(self, *reason: str, timed_out: bool = False) -> Outcome:
        told = f"{self._request.url.origin} ({self._address}): {' '.join(reason)}"
        return InDoubt(reason=told) if self._connected else NotConnected(reason=told, timed_out=timed_out)


def _words(error: BaseException) -> str:
    """An error in few words, without the library's own view of the address."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {error.os_error.strerror or error.os_error}"
    if isinstance(error, TimeoutError):
        return "not in time"
    return f"{type(error).__name__}: {error}".removesuffix(": ")[:300]


# --- the session ------------------------------------------------------------------------------------------------------


class _NoNames(AbstractResolver):
    """Connections are made to addresses alone."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        raise OSError(f"{host!r} was not looked up before")

    async def close(self) -> None:
        """There is nothing to close."""


_current: aiohttp.ClientSession | None = None
_inherited: list[aiohttp.ClientSession] = []  # Of a parent; see loop.py.


def _session() -> aiohttp.ClientSession:
    """The process's session. Called on the loop alone."""
    global _current
    if _current is None:
        # As many connections as slots deliver at once; the ledger's limits say how many go to whom.
        connector = aiohttp.TCPConnector(
            limit=0, resolver=_NoNames(), keepalive_timeout=KEEP_ALIVE_S, ssl=ssl.create_default_context()
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_has_connected)
        trace.on_connection_reuseconn.append(_has_connected)
        _current = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            # A compressed answer is bounded as it comes, and is not asked for.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "celadon"},
            trust_env=False,
            trace_configs=[trace],
        )
    return _current


async def _has_connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.has_connected()


def close() -> None:
    """Close this process's connections; the next request opens new ones."""
    global _current
    closing, _current = _current, None
    if closing is not None:
        with suppress(TimeoutError):
            loop.wait_for(asyncio.wait_for(closing.close(), CLOSE_S))


def _after_fork() -> None:
    global _current
    if _current is not None:
        _inherited.append(_current)
        _current = None


atexit.register(close)
os.register_at_fork(after_in_child=_after_fork)
