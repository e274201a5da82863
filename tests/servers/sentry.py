"""A Sentry that keeps every envelope it was sent, unpacked."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentrySink:
    """Takes envelopes on a free port.

    Attributes:
        items: (type, content) of each item of the envelopes, in the order of their coming.
        raw: all that was sent, unpacked.
    """

    def __init__(self) -> None:
        self.items: list[tuple[str, dict[str, Any]]] = []
        self.raw = b""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the test run's output is not for this."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self._server.server_port}/1"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, envelope: bytes) -> None:
        """An envelope is lines of JSON: its head, then the head and the content of each item."""
        self.raw += envelope
        lines = envelope.split(b"\n")[1:]
        for head, content in zip(lines[::2], lines[1::2], strict=False):
            self.items.append((json.loads(head)["type"], json.loads(content)))

    def events(self, **tags: str) -> list[dict[str, Any]]:
        """Events that carry all of these tags."""
        events = [content for kind, content in list(self.items) if kind == "event"]
        return [event for event in events if tags.items() <= event.get("tags", {}).items()]

    def traces(self) -> list[dict[str, Any]]:
        return [content for kind, content in list(self.items) if kind == "transaction"]

    def check_ins(self, slug: str) -> list[dict[str, Any]]:
        return [item for kind, item in list(self.items) if kind == "check_in" and item["monitor_slug"] == slug]
