"""The files that the programs of a stack read: supervisor's configuration, and the users of Redis."""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from deploy.environment import write_private
from deploy.redis import redis_users
from deploy.stack import ROOT, Program, Stack


def configuration(stack: Stack, socket: Path, only: Collection[str] = ()) -> str:
    """The text of the supervisor configuration.

    Args:
        stack: what is to run.
        socket: where supervisor listens for commands.
        only: names of the programs to run; none: all.

    Raises:
        ValueError: a name in `only` is none of a program; the message lists those there are.
    """
    return "\n".join([_head(stack, socket), *(_section(stack, program) for program in stack.chosen(only))])


def write(stack: Stack, socket: Path, only: Collection[str] = ()) -> Path:
    """Write the files into the stack's folder, which is made; returns the path of supervisor's.

    They hold secrets, so only their owner may read them.
    """
    text = configuration(stack, socket, only)
    stack.logs.mkdir(parents=True, exist_ok=True)
    stack.heartbeats.mkdir(exist_ok=True)
    if stack.secrets:
        write_private(stack.redis_users, redis_users(stack.secrets.flower_redis_password))
    path = stack.folder / f"{'-'.join(['supervisord', *only])}.conf"  # Others may run in this folder beside these.
    write_private(path, text)
    return path


def _head(stack: Stack, socket: Path) -> str:
    # As root supervisor wants to be told that root is meant.
    user = f"user={getpass.getuser()}\n" if os.geteuid() == 0 else ""
    return (
        f"[unix_http_server]\nfile={_plain(socket)}\nchmod=0600\n\n"
        f"[supervisorctl]\nserverurl=unix://{_plain(socket)}\n\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        f"[supervisord]\nnodaemon=true\n{user}"
        f"directory={_plain(ROOT)}\n"
        f"logfile={_plain(stack.logs / 'supervisord.log')}\n"
        f"pidfile={_plain(socket.with_suffix('.pid'))}\n"
        f"childlogdir={_plain(stack.logs)}\n"
        f"environment={_pairs(stack.environment)}\n"
    )


def _section(stack: Stack, program: Program) -> str:
    return (
        f"[program:{program.name}]\n"
        f"command={_plain(shlex.join(program.command))}\n"
        f"environment={_pairs(program.environment)}\n"
        f"priority={program.order}\n"
        f"autostart={'false' if program.last else 'true'}\n"
        f"autorestart={'true' if stack.restart else 'false'}\n"
        "startsecs=1\n"
        f"startretries={10 if stack.restart else 0}\n"
        "stopsignal=TERM\n"
        f"stopwaitsecs={program.grace_s}\n"
        # SIGTERM goes to the parent alone, or a prefork worker's children would die with jobs in hand;
        # SIGKILL after the grace goes to all, so that nothing is left behind.
        "stopasgroup=false\n"
        "killasgroup=true\n"
        "redirect_stderr=true\n"
        f"stdout_logfile={_plain(stack.logs / program.name)}.log\n"
    )


def _pairs(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_plain(value)}"' for name, value in environment.items())


def _plain(value: object) -> str:
    """Supervisor expands %(…)s in values; a percent sign that is meant stands twice."""
    return str(value).replace("%", "%%")
