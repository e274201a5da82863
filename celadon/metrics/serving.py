"""`/metrics` of a process and its children, on METRICS_BIND.

Failure policy: a bad METRICS_BIND is refused at the start. A port that is taken is no reason to stop working: it is
logged once and tried again every few seconds, so that a worker that replaces another gets the port when that is gone.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from celadon import logs
from celadon.errors import CeladonError
from celadon.metrics import seats
from celadon.metrics.declared import CIRCUIT_OPEN
from celadon.metrics.readings import Build, Shared
from celadon.settings import settings

log = logs.get("celadon.metrics")

AGAIN_S = 5.0  # Between two tries for a port that is taken.

_server: WSGIServer | None = None


def address(text: str) -> tuple[str, int]:
    """HOST and PORT of METRICS_BIND. Raises CeladonError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CeladonError(f"METRICS_BIND={text!r} is no HOST:PORT; write for example 0.0.0.0:9100 or [::]:9100")
    return host, int(port)


def start(process: str, *more: Collector) -> None:
    """Count from now on together with the processes that this one forks, and serve it all.

    process: web, worker or beat. more: what this process alone can tell. Called before any metric is made, and before
    the first fork. Raises CeladonError for a bad METRICS_BIND.
    """
    if not settings().metrics_bind:
        return
    host, port = address(settings().metrics_bind)
    try:
        folder = seats.prepare()
        CIRCUIT_OPEN.set(0)
    except OSError as error:
        log.error("metrics.no_folder", error=str(error), cure="give the process a writable folder for temporary files")
        return
    registry = CollectorRegistry()
    for collector in (Shared(folder), Build(process), *more):
        registry.register(collector)
    try:
        _serve(host, port, registry)
    except OSError as error:
        log.error("metrics.not_served", bind=f"{host}:{port}", error=str(error), again_s=AGAIN_S)
        threading.Thread(target=_keep_trying, args=(host, port, registry), name="celadon-metrics", daemon=True).start()


def _serve(host: str, port: int, registry: CollectorRegistry) -> None:
    global _server
    _server, _ = start_http_server(port, host, registry)
    log.info("metrics.served", bind=f"{host}:{port}")


def _keep_trying(host: str, port: int, registry: CollectorRegistry) -> None:
    while True:
        time.sleep(AGAIN_S)
        with suppress(OSError):
            return _serve(host, port, registry)


def _after_fork() -> None:
    # The parent serves; a child that kept the socket would keep the port when the parent is gone.
    global _server
    if _server is not None:
        _server.socket.close()
        _server = None


os.register_at_fork(after_in_child=_after_fork)
