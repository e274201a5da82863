"""A private Redis that the tests may kill, freeze, wipe and start again on the same port."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.eventually import eventually
from tests.servers.process import find_program, free_port, spawn


class RedisServer:
    """One redis-server (or valkey-server) without persistence: what it forgot is gone, as in a failover.

    Args:
        folder: where its log goes.
        options: more command-line words, for example `("--maxmemory", "4mb")`.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.log = folder / f"redis-{self.port}.log"
        self._program = find_program("redis-server", "valkey-server")
        self._folder = folder
        self._options = tuple(options)
        self._process: Popen[bytes] | None = None
        self._frozen = False

    @property
    def url(self) -> str:
        return self.url_through(self.port)

    def url_through(self, port: int) -> str:
        """The address for a client that goes through a proxy on `port`."""
        return f"redis://127.0.0.1:{port}/0"

    def client(self) -> redis.Redis:
        """A new client of the test's own; the caller closes it (it is a context manager)."""
        return redis.Redis(
            port=self.port,
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, empty, and return when it answers."""
        command = [str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--daemonize", "no", "--protected-mode", "no", *self._options]
        self._process = spawn(command, self.log, cwd=self._folder)
        self._frozen = False
        eventually(f"Redis answers on port {self.port}", self._answers, within=10)

    def kill(self) -> None:
        """`kill -9`: connections are reset and everything it held is forgotten."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart_empty(self) -> None:
        """Die and come back on the same port without a single key."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: the kernel still accepts connections and bytes, nobody answers."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT: what was sent meanwhile is carried out now."""
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    def wipe(self) -> None:
        """FLUSHALL: every key gone, every connection kept."""
        with self.client() as client:
            client.flushall()

    def fill(self, room: int = 0) -> None:
        """No more memory than it uses now and `room` bytes: writes that need more are refused, nothing is evicted."""
        with self.client() as client:
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + room)

    def make_room(self) -> None:
        """As much memory as it likes again."""
        with self.client() as client:
            client.config_set("maxmemory", 0)

    def stop(self) -> None:
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self.alive, f"Redis ended at its start: {self.log.read_text()[-500:]}"
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
