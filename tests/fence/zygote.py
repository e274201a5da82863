"""A process that has everything imported and forks ready-made workers, Beats and submitters on demand.

Starting Python with Celery and the ledger's libraries costs more than a second; a fork of this process costs a few
milliseconds, so a round can afford to kill a dozen workers. It never opens a connection nor starts a thread, so a
fork inherits nothing that it might share.

It reads one JSON object per line, `{"run": [...], "log": ..., "env": {...}}`, forks, and answers with the child's
id. What a child is to do stands in `run`: the words after `celadon`, or `["submit", ...]`. Workers ask in the same
words over a socket for the launcher of their quarantined jobs, `["solo", ...]`, and send its pipes along.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import mmap
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import celadon.drain
from tests.servers.process import die_with_parent, name_process, spawn_with_pipes


@dataclass(eq=False)
class Child:
    """A forked process. Its pidfd stays valid when the id is given to another process."""

    name: str
    pid: int
    handle: int

    @property
    def alive(self) -> bool:
        return not select.select([self.handle], [], [], 0)[0]

    def signal(self, number: signal.Signals) -> None:
        """Send to this process alone; one that is gone is no error."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.handle, number)

    def kill_group(self) -> None:
        """SIGKILL to the process and to what it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, within: float) -> bool:
        """Whether it has ended, after at most `within` seconds."""
        return bool(select.select([self.handle], [], [], within)[0])

    def close(self) -> None:
        os.close(self.handle)


class Zygote:
    """The conductor's side: starts the process and asks it to fork."""

    def __init__(self, env: Mapping[str, str], folder: Path, name: str, *, door: bool = False) -> None:
        """door: workers may ask it for processes too, at its socket."""
        self._folder = folder
        command = [sys.executable, "-m", "tests.fence.zygote", *(["--door"] if door else [])]
        self._process = spawn_with_pipes(command, folder / f"{name}.log", env=env)

    def ready(self) -> None:
        """Wait until it has imported everything.

        Raises:
            RuntimeError: it ended instead.
        """
        self._answer()

    def fork(self, name: str, run: Sequence[Any], env: Mapping[str, str] | None = None) -> Child:
        """Start a process; `env` is laid over the zygote's own environment."""
        order = {"run": list(run), "log": str(self._folder / f"{name}.log"), "env": dict(env or {})}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        pid = int(self._answer())
        try:
            return Child(name, pid, os.pidfd_open(pid))
        except ProcessLookupError:
            return Child(name, pid, os.open(os.devnull, os.O_RDONLY))  # Dead already: always readable, like its pidfd.

    def stop(self) -> None:
        """End it; the kernel kills its children with it."""
        self._process.kill()
        self._process.wait(10)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError(f"the zygote ended with status {self._process.wait(10)}; see its log")
        return line


def main() -> None:
    """The zygote itself."""
    preload()
    # A child that nobody waits for must not stay as a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    out = os.dup(1)
    os.write(out, b"ready\n")
    orders = os.fdopen(0, "rb", buffering=0, closefd=False)  # Unbuffered, or `select` would not see the rest.
    doors = [open_door()] if "--door" in sys.argv else []
    while True:
        watched: list[Any] = [orders, *doors]
        ready = select.select(watched, [], [])[0]
        for door in doors:
            if door in ready:
                caller, _ = door.accept()
                with caller:
                    words, fds, _, _ = socket.recv_fds(caller, 65536, 2)
                    if words:  # Nothing: the worker was killed while it asked.
                        with contextlib.suppress(BrokenPipeError):  # It was killed before it heard the answer.
                            fork(json.loads(words), caller.fileno(), fds)
                for fd in fds:
                    os.close(fd)
        if orders in ready:
            line = orders.readline()
            if not line:
                return
            fork(json.loads(line), out)


def open_door() -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    door.bind(address(Path(os.environ["FENCE_DIR"])))
    door.listen(100)
    return door


def fork(order: dict[str, Any], answer: int, fds: Sequence[int] = ()) -> None:
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        become(order, fds)
    os.write(answer, b"%d\n" % pid)


def address(folder: Path) -> str:
    """The zygote's socket: a name in Linux's abstract space, since a path could be too long for a socket."""
    return "\0celadon-fence-" + hashlib.sha256(str(folder).encode()).hexdigest()[:32]


class Launcher:
    """In a worker, in place of `subprocess.Popen`: the same program, forked by the zygote instead of started anew."""

    def __init__(self, command: Sequence[str], stdin: int, pass_fds: Sequence[int]) -> None:
        folder = Path(os.environ["FENCE_DIR"])
        *_, lane, boot, _ = command
        env = {"FENCE_WORKER": str(os.getpid())}
        order = {"run": ["solo", lane, boot], "log": str(folder / "solo.log"), "env": env}
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address(folder))
            socket.send_fds(connection, [json.dumps(order).encode()], [reading, *pass_fds])
            self.pid = int(connection.recv(100))
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")
        self._handle = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        return -1 if select.select([self._handle], [], [], 0)[0] else None

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)


def preload() -> None:
    """Import what any child will need, and nothing that connects."""
    import celery.apps.beat
    import celery.apps.worker
    import celery.concurrency.prefork
    import celery.concurrency.thread
    import celery.worker.consumer  # noqa: F401
    import kombu.transport.redis  # noqa: F401

    import celadon.cli
    from celadon.app import app

    app.loader.import_default_modules()
    app.finalize()
    celadon.cli.main  # noqa: B018


def become(order: dict[str, Any], fds: Sequence[int]) -> NoReturn:
    """In the child: take leave of the zygote and do the work; never returns."""
    os.setsid()
    die_with_parent()()
    name_process(Path(order["log"]).stem)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(0)  # noqa: SIM115
    random.seed()
    # The platform's stop flag is memory shared with children, here with every sibling: take a fresh one.
    celadon.drain._flag = mmap.mmap(-1, 1)
    os.environ.update(order["env"])
    status = 1
    try:
        status = work(order["run"], fds)
    except SystemExit as end:
        status = int(end.code or 0) if isinstance(end.code, int | None) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def work(run: Sequence[Any], fds: Sequence[int]) -> int:
    from celadon.settings import settings
    from tests.fence.edges import play

    settings.cache_clear()
    if run[0] == "submit":
        from tests.fence.submitter import submit_all

        submit_all(run[1], run[2])
        return 0
    if run[0] == "operate":
        from tests.fence.operator import operate

        operate(*run[1:])
        return 0
    if run[0] == "solo":
        from celadon.worker.launcher import main as solo

        play("solo")
        os.dup2(fds[0], 0)
        sys.argv = [*run, str(fds[1])]
        solo()
        return 0
    from celadon.cli import main as command

    if run[0] == "beat":
        play("beat")
    command(list(run), standalone_mode=False)
    return 0


if __name__ == "__main__":
    main()
