"""An ASGI application for a feature: by itself, or mounted in another."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

from celadon_feature.answers import DRAIN_BYTES, Answer, too_large
from celadon_feature.feature import Feature
from celadon_feature.work import Work

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]
Lifespan = Callable[[], AbstractAsyncContextManager[object]]

THREADS = 40
STORE_THREADS = 4  # So that a question is answered while every other thread is at work.


def app(feature: Feature, *, threads: int = THREADS, lifespan: Lifespan = nullcontext) -> App:
    """Serves `feature` at its path.

    A handler that is a coroutine is awaited on the server's event loop, any other runs in a thread.
    threads: how many of the latter run at a time; as many as deliveries may be under way at once. lifespan: makes an
    asynchronous context manager that is entered when the server starts and left when it stops, for what handlers need
    (a client, a pool). Mounted in another application it is not entered: that application's own is.
    """
    return _Served(feature, threads, lifespan)


class _Served:
    def __init__(self, feature: Feature, threads: int, lifespan: Lifespan) -> None:
        self._feature, self._lifespan = feature, lifespan
        self._handlers = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._store = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            raise ValueError(f"ASGI scope {scope['type']!r} is not known")

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            body = await _read(receive, self._feature.max_body_bytes)
        except ConnectionError:
            return  # Nobody is there to be answered, and nothing was begun.
        answer = too_large(self._feature.max_body_bytes).answer() if body is None else await self._answer(scope, body)
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Message, body: bytes) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        in_thread = partial(_in_thread, self._store)
        opened = await in_thread(self._feature.open, scope["method"], _path(scope), headers, body)
        if not isinstance(opened, Work):
            return opened
        if opened.registered.asynchronous:
            return await opened.do_on_loop(in_thread)
        # Should the server cancel this request, the thread goes on, and keeps its answer for who asks.
        return await _in_thread(self._handlers, opened.do)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        begun = False
        try:
            async with self._lifespan():
                begun = True
                await send({"type": "lifespan.startup.complete"})
                await receive()  # lifespan.shutdown
        except Exception as error:
            phase = "shutdown" if begun else "startup"
            await send({"type": f"lifespan.{phase}.failed", "message": f"{type(error).__name__}: {error}"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            self._handlers.shutdown(wait=False)
            self._store.shutdown(wait=False)


def _path(scope: Message) -> str:
    """Without the prefix that the application is mounted under."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body; None if it has more than `limit` bytes, which are not kept. Raises ConnectionError."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has gone")
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if not message.get("more_body") or size > limit + DRAIN_BYTES:
            return b"".join(parts) if size <= limit else None


def _in_thread(pool: Executor, function: Callable[..., T], /, *arguments: Any) -> asyncio.Future[T]:
    """With the context of the caller, as `asyncio.to_thread`, on threads of our own."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().run_in_executor(pool, partial(context.run, function, *arguments))
