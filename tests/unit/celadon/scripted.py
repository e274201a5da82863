"""A small real HTTP server that answers as a test has written, and misbehaves as told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered: JSON, or pieces of a stream after which the connection is cut."""

    status: int = 200
    json: Any = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: tuple[str, ...] | None = None
    after_s: float = 0.0  # How late it comes.
    stays: bool = False  # After the pieces the stream stays open, until the client leaves it.
    cut: bool = False  # The request is taken, and the connection closed without a word.


CUT = Reply(cut=True)


def problem(status: int, slug: str = "", *, retry_after: str | None = None, **more: Any) -> Reply:
    """Problem details, as the API gives them."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    kind = f"urn:celadon:problem:{slug}" if slug else "about:blank"
    return Reply(status=status, json={"type": kind, "status": status, "detail": "so it is", **more}, headers=headers)


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: Any


class Scripted:
    """The server. `replies` are given one after the other; `asked` are the requests that came."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        self.over = 0  # Connections that were ended.
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                scripted._answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def finish(self) -> None:
                super().finish()
                scripted.over += 1

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        address = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        asked = Asked(
            handler.command,
            address.path,
            parse_qs(address.query),
            dict(handler.headers),
            json.loads(body) if body else None,
        )
        self.asked.append(asked)
        reply = self.replies.pop(0)
        time.sleep(reply.after_s)
        handler.close_connection = reply.cut or reply.pieces is not None
        if reply.cut:
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.pieces is not None:
            handler.send_header("Content-Type", "text/event-stream")
            handler.end_headers()
            for piece in reply.pieces:
                handler.wfile.write(piece.encode())
                handler.wfile.flush()
            if reply.stays:
                handler.connection.recv(1)  # Nothing comes but the end.
            return
        content = (json.dumps(reply.json) if reply.text is None else reply.text).encode()
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    @contextmanager
    def serving(self) -> Iterator[Scripted]:
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(5)
