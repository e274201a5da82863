"""Processes of ours that begin at once: forks of one that has the libraries loaded, and nothing of the platform.

Python with Celery and the ledger's libraries takes a second of a processor to load, and the live tests start hundreds
of workers, Beats and producers. A fork of a process that has them takes a tenth of that; the platform, the operator's
file and the jobs it then imports anew, under its own environment and in its own folder, as the command does. What
takes the command itself (a restart by `exec`, a virtual environment, another clock) starts it with `spawn`.

The tests' side sends the fork server an order per process, with the files that are to be its standard streams. The
fork server has no threads and no connections, so a fork inherits nothing that it might share.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from tests.servers.process import die_with_parent, name_process

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "aiohttp",
    "alembic.command",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "click",
    "kombu.transport.redis",
    "prometheus_client.multiprocess",
    "psycopg",
    "pydantic_settings",
    "redis.sentinel",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.orm",
    "structlog",
)
MOST = 1 << 20  # An order's bytes: the environment of a process and some words.


class Forked:
    """A process, as `subprocess.Popen` has it: the same methods, as far as the tests call them."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._ended(within=0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, within: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._handle], [], [], within)[0]:
                self.returncode = _server().status(self.pid)
                os.close(self._handle)
            return self.returncode


def fork(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pipes: bool = False,
) -> Forked:
    """Like `spawn` for a command line of this interpreter: `python -c CODE …`, `-m MODULE …` or a file.

    pipes: to its input and from its output; only its errors go to `log`.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab"))
        if not pipes:
            null = stack.enter_context(open(os.devnull, "rb"))
            return _server().fork(command, env, cwd, [null.fileno(), output.fileno(), output.fileno()])
        reading, stdin = os.pipe()
        stdout, writing = os.pipe()
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        process = _server().fork(command, env, cwd, [reading, writing, output.fileno()])
        process.stdin, process.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        return process


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` with captured output, for a command line of this interpreter."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as null:
        process = _server().fork(command, env, cwd, [null.fileno(), out.fileno(), err.fileno()])
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        texts = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(list(command), status, *texts)


class Server:
    """The tests' side of the fork server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def fork(
        self, command: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, streams: Sequence[int]
    ) -> Forked:
        if command[0] != sys.executable:
            raise ValueError(f"{command[0]} is not this interpreter; start it with `spawn`")
        around = {"env": dict(os.environ if env is None else env), "cwd": str(cwd or Path.cwd())}
        return Forked(self._ask({"command": list(command), **around}, streams))

    def status(self, pid: int) -> int:
        """The exit status of a process that has ended. Asked once: its id is free then."""
        return self._ask({"status": pid})

    def _ask(self, order: Mapping[str, Any], files: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._ours, [json.dumps(order).encode()], files)
            answer = self._ours.recv(100)
        if not answer:
            raise RuntimeError(f"the fork server ended with status {self._process.wait(10)}")
        return int(answer)


_made: list[Server] = []
_making = threading.Lock()


def _server() -> Server:
    with _making:
        if not _made:
            _made.append(Server())
        return _made[0]


# --- the fork server itself


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    for library in LIBRARIES:
        import_module(library)
    assert "celadon" not in sys.modules, "the platform would be loaded under another environment than its own"
    gc.collect()
    gc.freeze()
    while True:
        words, files, _, _ = socket.recv_fds(orders, MOST, 3)
        if not words:
            return  # The test run is over.
        order = json.loads(words)
        if "status" in order:
            _, status = os.waitpid(order["status"], 0)
            orders.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            orders.detach()
            become(order, files)
            return
        orders.send(b"%d" % pid)
        for file in files:
            os.close(file)


def become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """In the child: be what the command line says, in its own session, folder and environment."""
    os.setsid()
    die_with_parent()()
    for stream, file in enumerate(streams):
        os.dup2(file, stream)
    os.closerange(3, 256)
    os.chdir(order["cwd"])
    installed = sys.path[1 + len(python_path()) :]
    os.environ.clear()
    os.environ.update(order["env"])
    sys.orig_argv[:] = order["command"]
    sys.argv[:] = arguments = order["command"][1:]
    sys.path[:] = [*python_path(), *installed]
    name_process(" ".join(arguments[2:]) or arguments[-1])
    if arguments[0] == "-c":
        code = sys.argv.pop(1)
        sys.path.insert(0, "")
        sys.modules["__main__"] = ModuleType("__main__")
        exec(code, vars(sys.modules["__main__"]))
    elif arguments[0] == "-m":
        module = sys.argv.pop(1)
        sys.path.insert(0, order["cwd"])
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


def python_path() -> list[str]:
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


if __name__ == "__main__":
    main()
