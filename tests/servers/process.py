"""Starting a server process that cannot outlive the test run, and finding its binary."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


class Process(Protocol):
    """What was started, in whatever way; the leader of its group."""

    @property
    def pid(self) -> int: ...


class Missing(RuntimeError):
    """A server's program is not installed on this host."""


def find_program(*names: str, folders: Sequence[str] = ()) -> Path:
    """The first of `names` found on PATH or in `folders`.

    Raises:
        Missing: none of them is there.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return Path(found)
    raise Missing(f"none of {', '.join(names)} is installed")


def celadon(*words: str) -> list[str]:
    """The command line of the `celadon` program, run by this interpreter whether it is installed or not."""
    return [sys.executable, "-c", "from celadon.cli import main; main()", *words]


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends `by` to the process when the thread that started it is gone."""

    def ask_kernel() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(by))

    return ask_kernel


def name_process(name: str) -> None:
    """How this process is called in `ps` and `top`, where forks of one program all look the same."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    group: int | None = None,
    by: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command` in a process group of its own, its output appended to `log`.

    A group of its own, so that a signal to the test run is not a signal to the server, and a server can be
    killed together with the children it forked.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            start_new_session=True,
            preexec_fn=die_with_parent(by),
        )


def spawn_with_pipes(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` with pipes to its input and from its output; only its errors go to `log`."""
    with log.open("ab") as errors:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=None if env is None else dict(env),
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )


def kill_group(process: Process, by: signal.Signals = signal.SIGKILL) -> None:
    """Send `by` to the process and to everything in its group; a group that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, by)
