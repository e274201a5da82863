"""`GET /health` and `GET /internal/status` on PORT, served by the loop that delivers: no thread or process of its own.

Of several workers on one host the first one has the port. The others say so in their log, and one of them has it when
the first is gone: what is told is of the whole fleet, whoever tells it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from aiohttp import web

from celadon import logs
from celadon.deadline import within
from celadon.delegation import loop, status
from celadon.errors import LedgerUnavailable
from celadon.settings import settings

log = logs.get("celadon.delegation")

FRESH_S = 1.0  # So old may an answer be: whoever asks often asks the ledger no more often than that.
STATUS_MOST_S = 10.0  # A look at a thousand queues and a million jobs takes about one.
AGAIN_S = 5.0  # Between two tries for a port that is taken.
STOP_S = 2.0  # What the end of a process waits for answers under way.
RETRY_AFTER_S = 2

_runner: web.AppRunner | None = None
_trying: Future[None] | None = None


def start() -> None:
    """Serve from now on, or once the port is to be had."""
    global _trying
    host, port = settings().fleet_host, settings().port
    try:
        loop.wait_for(_serve(host, port))
    except OSError as error:
        cure = "the one that has it tells of the whole fleet; give this one another PORT if it is to be asked too"
        log.warning("fleet.not_served", host=host, port=port, error=str(error), again_s=AGAIN_S, cure=cure)
        _trying = asyncio.run_coroutine_threadsafe(_keep_trying(host, port), loop.loop())


def stop() -> None:
    """End serving, or trying to."""
    global _runner, _trying
    if _trying is not None:
        _trying.cancel()
    ended, _runner, _trying = _runner, None, None
    if ended is not None:
        with suppress(TimeoutError):
            loop.wait_for(asyncio.wait_for(ended.cleanup(), STOP_S))


async def _serve(host: str, port: int) -> None:
    global _runner
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=32).start()
    except OSError:
        await runner.cleanup()
        raise
    _runner = runner
    log.info("fleet.served", host=host, port=port)


async def _keep_trying(host: str, port: int) -> None:
    while True:
        await asyncio.sleep(AGAIN_S)
        with suppress(OSError):
            return await _serve(host, port)


def application() -> web.Application:
    """What is served; its handlers never keep the loop waiting."""
    made = web.Application(client_max_size=1024)
    healthy, told = _Remembered(status.health), _Remembered(_status)

    async def health(_: web.Request) -> web.Response:
        return await healthy.answer()

    async def internal_status(_: web.Request) -> web.Response:
        return await told.answer()

    made.router.add_get("/health", health)
    made.router.add_get("/internal/status", internal_status)
    return made


def _status() -> tuple[int, dict[str, Any]]:
    # Here, not where the ledger is asked: whoever wants the status in a terminal may wait, and can end it.
    return 200, within(STATUS_MOST_S, lambda _: status.status(), job_id="")


class _Remembered:
    """An answer, made in a thread by one at a time and good for FRESH_S."""

    def __init__(self, make: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._until = 0.0
        self._last: tuple[int, dict[str, Any]] = (503, {})

    async def answer(self) -> web.Response:
        async with self._making:
            if time.monotonic() >= self._until:
                self._last = await asyncio.to_thread(self._made)
                self._until = time.monotonic() + FRESH_S
        code, told = self._last
        headers = {"Cache-Control": "no-store", **({"Retry-After": str(RETRY_AFTER_S)} if code == 503 else {})}
        return web.json_response(told, status=code, headers=headers)

    def _made(self) -> tuple[int, dict[str, Any]]:
        try:
            return self._make()
        except LedgerUnavailable:
            return 503, {"error": "the ledger does not answer"}
        except Exception as error:
            log.exception("fleet.status_failed")
            return 500, {"error": type(error).__name__}
