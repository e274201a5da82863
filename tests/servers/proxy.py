"""A small TCP proxy that stands between a client and a server and spoils the connection on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class TcpProxy:
    """Forwards one port of the loopback address to another, in a thread of its own.

    Modes, changed at any time, for old and new connections alike:

    - `clear()`: bytes pass as they come.
    - `delay(seconds)`: each piece, either way, is held for so long; order is kept.
    - `half_open()`: connections are accepted and stand, what is sent is swallowed, nothing comes back: what a
      client sees of a peer behind a cable that was pulled. `clear()` resets those that lost bytes.
    - `pause()`: bytes are held, not lost; `clear()` lets them go on.
    - `deaf()`: what the client sends arrives, the answers are swallowed: a publish that times out and yet
      happened.
    - `cut()`: every connection is reset and new ones are refused at once, until `clear()`.
    """

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self._mode = "clear"
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._spoiled: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        self._call(self._reset())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def clear(self) -> None:
        self._set("clear")

    def delay(self, seconds: float) -> None:
        self._delay_s = seconds
        self._set("delay")

    def half_open(self) -> None:
        self._set("half_open")

    def pause(self) -> None:
        self._set("pause")

    def deaf(self) -> None:
        self._set("deaf")

    def cut(self) -> None:
        self._set("cut")
        self._call(self._reset())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _set(self, mode: str) -> None:
        async def change() -> None:
            self._mode = mode
            if mode == "pause":
                self._flowing.clear()
            else:
                self._flowing.set()
            if mode == "clear":
                for writer in self._spoiled:
                    writer.transport.abort()
                self._spoiled.clear()

        self._call(change())

    async def _listen(self) -> None:
        self._flowing.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])

    async def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "cut":
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            # A server that is down refuses; so does the proxy, as far as one that has accepted already can.
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(up_writer)
        await asyncio.gather(self._pump(reader, up_writer, answers=False), self._pump(up_reader, writer, answers=True))
        self._writers -= {writer, up_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while piece := await reader.read(65536):
                if self._mode == "delay":
                    await asyncio.sleep(self._delay_s)
                await self._flowing.wait()
                if self._mode == "half_open" or (self._mode == "deaf" and answers):
                    self._spoiled.add(writer)
                    continue
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            # Under half-open even the end of the other side is not to be seen.
            if self._mode == "half_open":
                self._spoiled.add(writer)
            else:
                writer.close()
