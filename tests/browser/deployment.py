"""The shop as it is deployed: `celadon web` with two processes, a worker, Beat, Redis, a mail server, one ledger."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.eventually import eventually
from tests.ledgers import UNLIMITED
from tests.live.nodes import Workers
from tests.live.platform import Platform
from tests.servers import MailSink
from tests.servers.process import celadon, free_port, kill_group, spawn

PROCESSES, THREADS = 2, 4
STREAMS = PROCESSES * THREADS // 2  # As many order pages as are told by a stream at once.


class HeldMail(MailSink):
    """A mail server that lets a test look at an order between two steps: while it is held, its answer has no end."""

    def __init__(self) -> None:
        super().__init__()
        self._held = threading.Event()

    def hold(self) -> None:
        self._held.set()

    def release(self) -> None:
        self._held.clear()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        while self._held.is_set():
            await server.push("250-not yet")  # Something now and then, or the client would give up.
            await asyncio.sleep(0.05)
        return await super().handle_DATA(server, session, envelope)


class Shop(Platform):
    """The deployment; `mail` belongs to whoever made it."""

    mail: HeldMail

    def start(self, mail: HeldMail) -> None:
        self.mail = mail
        self.more = {
            "CELERY_CONFIG_MODULE": "celeryconfig",
            "SMTP_URL": mail.url,
            "SECRET_KEY": "",  # Then the two processes share the one that `celadon web` makes.
            "WEB_WORKERS": str(PROCESSES),
            "WEB_THREADS": str(THREADS),
            **UNLIMITED,
            "TICK_S": "0.25",  # Nothing waits for the scheduler here, and each of its looks is Chromium's loss.
            "CONFIRM_MS": "5000",  # An order that a test holds must be with the worker, not with a web process.
        }
        self.port = free_port()
        self.beat()
        self.serve()
        self._default = self.worker("default")
        Workers(self._default).start()
        eventually("the shop is ready", self.ready, within=30)

    def serve(self) -> None:
        self._web = self._spawn(self.port)

    def _spawn(self, port: int, **more: str) -> subprocess.Popen[bytes]:
        command = celadon("web", "--bind", f"127.0.0.1:{port}")
        return spawn(command, self.folder / "web.log", env={**self.env, **more}, cwd=self.folder)

    @contextmanager
    def without_ledger(self) -> Iterator[str]:
        """The address of the same shop on a host that does not reach the ledger."""
        port = free_port()
        process = self._spawn(port, LEDGER_URL="sqlite:////nowhere/celadon.db", WEB_WORKERS="1")
        try:
            eventually("it answers", lambda: self.answers(port, "/") == 503, within=30)
            yield f"http://127.0.0.1:{port}"
        finally:
            kill_group(process)
            process.wait(10)

    def kill_web(self) -> None:
        kill_group(self._web)
        self._web.wait(10)

    def stop(self) -> None:
        self.kill_web()
        super().stop()

    # --- asked past the browser

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        assert self._web.poll() is None, (self.folder / "web.log").read_text()[-3000:]
        return self.answers(self.port, "/ready") == 200

    def answers(self, port: int, path: str) -> int:
        """The status of the answer; 0 while there is none."""
        try:
            return get(port, path).status
        except ConnectionError:
            return 0

    def order(self, sku: str, quantity: int) -> dict[str, Any]:
        """Order over HTTP; returns the answer."""
        customer = {"name": "Mina Ito", "email": "mina@example.com"}
        body = json.dumps({"customer": customer, "lines": [{"sku": sku, "quantity": quantity}]})
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/api/orders", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 202, told
        return told

    @contextmanager
    def limited(self, *words: str) -> Iterator[None]:
        """Orders have this limit meanwhile, in the words of `celadon limits set`."""
        self.command("limits", "set", "job", "orders.process", *words)
        try:
            yield
        finally:
            self.command("limits", "reset", "job", "orders.process")

    def mend(self) -> None:
        """Put back what a test has killed; returns when orders are picked up again."""
        self.redis.start()
        if self._default.container.status != "running":
            Workers(self._default).start()
        eventually("an order is picked up", self.picks_up, within=30)

    def picks_up(self) -> bool:
        return bool(self.order("DISH-DIP", 1)["receipt"]["outcome"] == "picked_up")

    def take_all_streams(self) -> list[HTTPResponse]:
        """Watch an order that stays unfinished with as many streams as there may be; the caller closes them."""
        path = f"{page_of(self.order('JAR-MOON', 99))}/events"
        taken: list[HTTPResponse] = []

        def all_taken() -> bool:
            answer = get(self.port, path)
            if answer.status == 200:
                taken.append(answer)
            else:
                answer.close()
            return len(taken) == STREAMS

        eventually("every stream is taken", all_taken, within=30)
        return taken


def get(port: int, path: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def page_of(order: dict[str, Any]) -> str:
    return f"/orders/{order['id']}"
