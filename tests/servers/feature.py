"""A feature's service that keeps every request it gets, and answers as it is told, however badly."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

HANG_S = 30.0  # What hangs goes on hanging until the server stops, or for so long.


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it came. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    connection: int  # Which one it came over, counted from 1.
    at: float  # Monotonic.

    @property
    def told(self) -> dict[str, Any]:
        """Its JSON."""
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


class Peer:
    """The other end of a connection, for who answers."""

    def __init__(self, connection: socket.socket, stopped: threading.Event) -> None:
        self._connection, self._stopped = connection, stopped
        self.open = True

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def head(self, status: int, *headers: str, length: int) -> None:
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {length}", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def hang(self) -> None:
        """Say nothing more until the other side gives up."""
        self._connection.settimeout(0.05)
        until = time.monotonic() + HANG_S
        while not self._stopped.is_set() and time.monotonic() < until:
            try:
                if not self._connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.open = False

    def close(self) -> None:
        """End the connection in good order."""
        self.open = False

    def reset(self) -> None:
        """Cut the connection: whatever is under way on it is lost."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False


Behaviour = Callable[[Peer, Received], None]


def answer(status: int, told: Any = None, *headers: str, body: bytes | None = None) -> Behaviour:
    """Answer with this JSON, or with this body."""
    content = json.dumps(told).encode() if body is None else body

    def behave(peer: Peer, _: Received) -> None:
        peer.head(status, *headers, length=len(content))
        peer.send(content)

    return behave


def succeed(result: Any = None) -> Behaviour:
    return answer(200, {"success": True, "result": result})


def fail(error: Any = "no luck", **more: Any) -> Behaviour:
    return answer(200, {"success": False, "error": error, **more})


def state(state: str, **more: Any) -> Behaviour:
    """Answer to being asked after a job."""
    return answer(200, {"state": state, **more})


def hang(peer: Peer, _: Received) -> None:
    """Take the request and never answer."""
    peer.hang()


def hang_in_the_head(peer: Peer, _: Received) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    peer.hang()


def hang_in_the_body(status: int = 200) -> Behaviour:
    def behave(peer: Peer, _: Received) -> None:
        peer.head(status, length=100)
        peer.send(b'{"success": true')
        peer.hang()

    return behave


def cut(peer: Peer, _: Received) -> None:
    """Take the request and cut the connection."""
    peer.reset()


def cut_in_the_body(status: int = 200) -> Behaviour:
    def behave(peer: Peer, _: Received) -> None:
        peer.head(status, length=100)
        peer.send(b'{"success": true')
        peer.close()

    return behave


def then_close(behaviour: Behaviour) -> Behaviour:
    """Behave, and close the connection without having said so."""

    def behave(peer: Peer, received: Received) -> None:
        behaviour(peer, received)
        peer.close()

    return behave


class FeatureServer:
    """Takes jobs on a free port of the loopback address, over connections that are kept.

    Attributes:
        received: every request, in the order of their coming; nothing is de-duplicated.
        posts, asks: what to do with the next POST or GET; when there is nothing left, `otherwise`.
        otherwise: by method. A POST succeeds, and of no job anything is known, unless told otherwise.
        connections: how many there have been.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.received: list[Received] = []
        self.posts: list[Behaviour] = []
        self.asks: list[Behaviour] = []
        self.otherwise: dict[str, Behaviour] = {"POST": succeed(), "GET": state("unknown")}
        self.connections = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = int(self._listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        threading.Thread(target=self._accept, name="feature", daemon=True).start()

    def stop(self) -> None:
        """Close everything: from here on connections are refused."""
        self._stopped.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def of(self, method: str) -> list[Received]:
        """The requests of one method so far."""
        with self._lock:
            return [one for one in self.received if one.method == method]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                peer = Peer(connection, self._stopped)
                while peer.open and not self._stopped.is_set() and (received := _read(lines, number)):
                    self._behaviour_for(received)(peer, received)

    def _behaviour_for(self, received: Received) -> Behaviour:
        with self._lock:
            self.received.append(received)
            told = self.posts if received.method == "POST" else self.asks
            return told.pop(0) if told else self.otherwise[received.method]


def _read(lines: BinaryIO, connection: int) -> Received | None:
    """The next request; None: there is none any more."""
    first = lines.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := lines.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = lines.read(int(headers.get("content-length", 0)))
    return Received(
        method=first[0],
        path=first[1],
        headers=headers,
        body=body,
        connection=connection,
        at=time.monotonic(),
    )
