"""Starting a stack under supervisor, and saying what is to be started, killed and stopped in it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deploy.configuration import write
from deploy.stack import HOST, SERVERS, Stack

T = TypeVar("T")

# What one program's stop may take beyond its own grace, until supervisor has seen its end.
_MARGIN_S = 5


class NotReady(RuntimeError):
    """Something awaited did not happen in time."""


class Supervisor:
    """One running supervisord with the programs of a stack.

    Its command socket is in a private temporary folder, since the path of a Unix socket has to be short and a
    project's folder need not be.
    """

    def __init__(self, stack: Stack, only: Collection[str] = ()) -> None:
        self.stack = stack
        self._folder = Path(tempfile.mkdtemp(prefix="celadon-"))
        self._socket = self._folder / "supervisor.sock"
        self.configuration = write(stack, self._socket, only)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start supervisord, and with it every program.

        Raises:
            NotReady: it did not come up in 10 s.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(self.configuration)]
        # A session of its own: Ctrl-C reaches whoever started the stack, who then stops it in order.
        with (self.stack.logs / "supervisord.out").open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        until("supervisor answers", lambda: self.running and self._ask("getState"), within_s=10)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def names(self) -> list[str]:
        """The programs' names."""
        return [info["name"] for info in self._ask("getAllProcessInfo")]

    def state(self, name: str) -> str:
        """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""
        return str(self._ask("getProcessInfo", name)["statename"])

    def pid(self, name: str) -> int:
        """The program's process id, 0 when it does not run."""
        return int(self._ask("getProcessInfo", name)["pid"])

    def check(self) -> None:
        """Raises NotReady if a program has ended by itself, and says where it logged why."""
        for name in self.names():
            if self.state(name) in ("EXITED", "FATAL"):
                raise NotReady(f"{name} ended by itself; see {self.stack.logs / name}.log")

    def launch(self, name: str) -> None:
        """Start one program; returns at once."""
        self._ask("startProcess", name, False)

    def kill(self, name: str) -> int:
        """SIGKILL to one program, as lack of memory or of power would end it; returns the pid it had."""
        pid = self.pid(name)
        self._ask("signalProcess", name, "KILL")
        ended = ("EXITED", "FATAL")
        until(f"{name} ended", lambda: self.state(name) in ended or self.pid(name) not in (0, pid), 10)
        return pid

    def stop(self) -> None:
        """Stop everything, each within its grace: first whoever uses the servers, then the servers.

        A second Ctrl-C meanwhile, or anything else that goes wrong, kills what is left: nothing is left behind.
        """
        process = self._process
        if process is None:
            return
        try:
            if self.running:
                self._drain()
                process.send_signal(signal.SIGTERM)
            process.wait(2 * _MARGIN_S + max(program.grace_s for program in self.stack.programs()))
        except BaseException:
            self._kill_all(process)
            raise
        finally:
            self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)

    def _kill_all(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL, first to supervisord, which would start its programs again, then to each program's group."""
        pids = [pid for name in self.names() if (pid := self.pid(name))] if self.running else []
        process.kill()
        process.wait()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _drain(self) -> None:
        """Ask all but the servers to end, at the same time rather than one after the other."""
        drained = [p for p in self.stack.programs() if p.order > SERVERS and p.name in self.names()]
        for program in drained:
            try:
                self._ask("stopProcess", program.name, False)
            except Fault:
                continue  # It does not run.
        limit = max((program.grace_s for program in drained), default=0) + _MARGIN_S
        until("the programs have ended", lambda: not any(self.pid(p.name) for p in drained), within_s=limit)

    def _ask(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            try:
                return getattr(server.supervisor, method)(*arguments)
            except OSError:
                if method == "getState":
                    return None  # It is still starting.
                raise


@contextmanager
def supervised(stack: Stack, only: Collection[str] = ()) -> Iterator[Supervisor]:
    """Run the stack for the length of a `with` block; whatever ends the block, everything is stopped."""
    supervisor = Supervisor(stack, only)
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()


def until(what: str, look: Callable[[], T], within_s: float) -> T:
    """Look every 50 ms until `look()` is true; returns what it gave.

    Raises:
        NotReady: it was not true within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise NotReady(f"waited {within_s:g} s in vain until {what}")
        time.sleep(0.05)
    return seen


def listening(port: int) -> bool:
    """Whether somebody accepts connections on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
