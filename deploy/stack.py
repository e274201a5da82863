"""Everything that runs side by side on one machine.

The workers come from the table of lanes in `celeryconfig.py`: a lane added there is a program here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from celadon.queues import lane as lane_now
from celeryconfig import lanes
from deploy.environment import Secrets
from deploy.redis import redis_server

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
HOST = "127.0.0.1"
SERVERS = 10  # Program.order of what the others use: started before them, stopped after them.


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where things listen, all on the loopback address.

    metrics: the first of the ports, one after the other, at which web, Beat and the workers serve their metrics;
    None: they serve none.
    """

    web: int
    redis: int
    mail: int
    flower: int
    metrics: int | None = None


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process that supervisor runs.

    Args:
        name: its name for supervisor and for its log.
        command: what is executed, in the project's folder.
        grace_s: seconds from SIGTERM to SIGKILL when it is stopped.
        order: lower starts earlier and stops later.
        environment: what it finds there besides what all find.
        last: is started by whoever starts the stack, once the others are ready, rather than with them.
    """

    name: str
    command: list[str]
    grace_s: int = 10
    order: int = 20
    environment: dict[str, str] = field(default_factory=dict)
    last: bool = False


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What runs, where its files go, and what its processes find in their environment.

    Args:
        folder: gets the configuration, the logs, the ledger and the mail.
        ports: where things listen.
        ledger_url: the ledger's database; None: an SQLite file in the folder.
        secrets: those of this installation; None: no Flower, and cookies that last until the web process stops.
        restart: start a program again when it ends by itself (`make up`); no: the caller does (`make demo`).
        settings: more settings for all processes.
        lane_settings: more settings for the workers of one lane.
        copies: how many workers a lane has, where it is not one. A lane that has no queues has none: `delegated`, where
            no registration file names any.
        more: other programs that run beside these; asked for when the stack starts.
    """

    folder: Path
    ports: Ports
    ledger_url: str | None = None
    secrets: Secrets | None = None
    restart: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    lane_settings: Mapping[str, dict[str, str]] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    more: Callable[[], Sequence[Program]] = tuple

    @property
    def environment(self) -> dict[str, str]:
        """What all processes find in their environment."""
        return {
            "LEDGER_URL": self.ledger_url or f"sqlite:///{self.folder / 'celadon.db'}",
            "BROKER_URL": f"redis://{HOST}:{self.ports.redis}/0",
            "SMTP_URL": f"smtp://{HOST}:{self.ports.mail}",
            "WEB_BIND": f"{HOST}:{self.ports.web}",
            "PYTHONUNBUFFERED": "1",
            **({"SECRET_KEY": self.secrets.secret_key} if self.secrets else {}),
            **self.settings,
        }

    @property
    def mail(self) -> Path:
        return self.folder / "mail"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def heartbeats(self) -> Path:
        return self.folder / "heartbeats"

    @property
    def redis_users(self) -> Path:
        return self.folder / "redis-users.conf"

    def programs(self) -> list[Program]:
        """Everything this stack runs, in the order of starting."""
        programs = [*self._servers(), *self.more(), *self._celadon()]
        if self.secrets:
            programs.append(self._flower(self.secrets))
        return programs

    def chosen(self, only: Collection[str] = ()) -> list[Program]:
        """The programs with these names; no names: all.

        Raises:
            ValueError: a name is none of a program; the message lists those there are.
        """
        programs = self.programs()
        names = [program.name for program in programs]
        unknown = sorted(set(only) - set(names))
        if unknown:
            raise ValueError(f"no program named {', '.join(unknown)}; there are: {', '.join(names)}")
        return [program for program in programs if not only or program.name in only]

    def metrics_ports(self) -> dict[str, int]:
        """Which program serves its metrics at which port. The lanes come last, so that a new one moves no other."""
        names = ["web", "beat", *self._workers()] if self.ports.metrics else []
        return {name: port for port, name in enumerate(names, self.ports.metrics or 0)}

    def _workers(self) -> dict[str, str]:
        """The lane of each worker by its program's name: `worker-default`, `worker-default-2`."""
        return {
            f"worker-{lane}" + (f"-{number}" if number > 1 else ""): lane
            for lane in lanes
            for number in range(1, self.copies.get(lane, 1 if lane_now(lane).queues else 0) + 1)
        }

    def _servers(self) -> list[Program]:
        users = [str(self.redis_users)] if self.secrets else []
        # Without persistence: the ledger, not Redis, is what remembers.
        listen = ["--bind", HOST, "--port", str(self.ports.redis), "--save", "", "--appendonly", "no"]
        redis = [redis_server(), *users, *listen, "--dir", str(self.folder)]
        mail = [sys.executable, "-m", "deploy.mailsink", "--port", str(self.ports.mail), "--folder", str(self.mail)]
        return [
            Program(name="redis", command=redis, order=SERVERS),
            Program(name="mail", command=mail, order=SERVERS),
        ]

    def _celadon(self) -> list[Program]:
        """Web, a worker for each lane, and Beat; each with a port for its metrics and a file for its heartbeat."""
        celadon, metrics = str(BIN / "celadon"), self.metrics_ports()

        def program(name: str, *words: str, grace_s: int = 10, more: Mapping[str, str] | None = None) -> Program:
            own = {"METRICS_BIND": f"{HOST}:{metrics[name]}"} if metrics else {}
            if name != "web":
                own["HEARTBEAT_FILE"] = str(self.heartbeats / name)
            return Program(name=name, command=[celadon, *words], grace_s=grace_s, environment={**own, **(more or {})})

        return [
            program("web", "web", grace_s=30),
            *(
                program(name, "worker", lane, grace_s=_grace_s(lane), more=self.lane_settings.get(lane))
                for name, lane in self._workers().items()
            ),
            program("beat", "beat"),
        ]

    def _flower(self, secrets: Secrets) -> Program:
        """Flower, as the user of Redis who only watches. `flowerconfig.py` in the project's folder locks it.

        It asks the workers for their queues when it starts, and those that are not there yet never again.
        """
        return Program(
            name="flower",
            command=[
                *(str(BIN / "celery"), "--app", "celadon.app", "flower"),
                *(f"--address={HOST}", f"--port={self.ports.flower}"),
            ],
            order=30,
            last=True,
            environment={
                "BROKER_URL": f"redis://flower:{secrets.flower_redis_password}@{HOST}:{self.ports.redis}/0",
                "FLOWER_BASIC_AUTH": secrets.flower_basic_auth,
                "FLOWER_COOKIE_SECRET": secrets.flower_cookie_secret,
            },
        )


def _grace_s(lane: str) -> int:
    """The seconds that a lane's workers may take to stop."""
    return cast(int, lanes[lane]["grace_s"])
