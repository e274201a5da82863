"""What `make demo-delegation` runs: the 38 queues of the project's `delegation.toml`, shared out among six services."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from celadon_feature import new_key
from deploy.demo_delegation_features import LATE_TIMEOUT_S
from deploy.stack import HOST, ROOT, SERVERS, Program

NODE_EXAMPLE = "examples/feature/feature.mjs"
OLDEST_NODE = 18
THREADS = 24  # Of a service: more than deliveries are under way there, so that questions are answered meanwhile.

# The service that does what nothing special is the matter with.
ORDINARY = "office"
# The queue that each of the others owns.
SPECIAL = {
    "mail": "email",
    "slow": "image-gen",
    "failing": "crm-sync",
    "late": "payment-sync",
    "hung": "video-transcode",
}
SERVICES = (ORDINARY, *SPECIAL)
ATTEMPTS = 3  # Of the failing one.
# What those entries say instead of what the project's file does.
CHANGED: dict[str, dict[str, object]] = {
    "failing": {"attempts": ATTEMPTS, "backoff": "fixed", "backoff_ms": 200},
    "late": {"timeout": int(LATE_TIMEOUT_S * 1000), "concurrency": 10},
    # It is to be tried for as long as it hangs.
    "hung": {"timeout": 4_000, "concurrency": 4, "attempts": 50, "backoff": "fixed", "backoff_ms": 500},
}
KEPT = ("concurrency",)  # Of the project's file: time-outs and rates there are those of real work.


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The queues, the services and where these listen.

    folder: gets the file, the signing key, and what the services keep.
    """

    folder: Path
    ports: Mapping[str, int]

    @property
    def file(self) -> Path:
        return self.folder / "delegation.toml"

    @property
    def journal(self) -> Path:
        """What the service in Node notes."""
        return self.folder / "mail.journal"

    @property
    def _key_file(self) -> Path:
        return self.folder / "signing.keys"

    def write(self) -> None:
        """Write the registration file, and a signing key that both sides read."""
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(new_key())
        self.file.write_text(self._text())

    def _text(self) -> str:
        lines = ["[services]", *(f'{name} = "http://{HOST}:{port}"' for name, port in self.ports.items())]
        for queue, told in queues().items():
            service = service_of(queue)
            facts = {name: told[name] for name in KEPT if name in told} | CHANGED.get(service, {})
            lines += ["", f"[queues.{queue}]", f"service = {json.dumps(service)}"]
            lines += [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
            lines += [f"keys = {{ file = {json.dumps(str(self._key_file))} }}", 'networks = ["loopback"]']
        return "\n".join(lines) + "\n"

    def programs(self) -> list[Program]:
        """The services, each a process of its own. Called once the key is written."""
        return [self._node() if name == "mail" and node() else self._python(name) for name in SERVICES]

    def _python(self, service: str) -> Program:
        mine = [queue for queue in queues() if service_of(queue) == service]
        factory = f"deploy.demo_delegation_features:create_app({str(self.folder)!r}, {service!r}, {mine!r})"
        # One process with threads. A process that is stopped for a while is not to be ended for it; a connection is
        # kept for longer than the fleet keeps it, so that none is closed at the moment at which it is used.
        serves = ["--worker-class", "gthread", "--threads", str(THREADS), "--timeout", "0", "--keep-alive", "75"]
        bind = ["--bind", f"{HOST}:{self.ports[service]}", "--no-control-socket", "--log-level", "warning"]
        return Program(
            name=f"feature-{service}",
            command=[sys.executable, "-m", "gunicorn", factory, *serves, *bind, "--graceful-timeout", "3"],
            order=SERVERS,
        )

    def _node(self) -> Program:
        return Program(
            name="feature-mail",
            command=["node", NODE_EXAMPLE],
            order=SERVERS,
            environment={
                "SIGNING_KEYS": self._key_file.read_text(),
                "PORT": str(self.ports["mail"]),
                "JOURNAL": str(self.journal),
            },
        )


@cache
def queues() -> dict[str, dict[str, object]]:
    """The queues of the project's registration file, with what it says of them."""
    told: dict[str, dict[str, object]] = tomllib.loads((ROOT / "delegation.toml").read_text())["queues"]
    return told


def service_of(queue: str) -> str:
    return next((service for service, its in SPECIAL.items() if its == queue), ORDINARY)


def ordinary() -> Sequence[str]:
    """The queues whose service is an ordinary one: neighbours of those with troubles."""
    return [queue for queue in queues() if service_of(queue) == ORDINARY]


@cache
def node() -> str | None:
    """The version of this machine's Node; None: there is none, or it is too old for the example."""
    if shutil.which("node") is None:
        return None
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    number = said.removeprefix("v").partition(".")[0]
    return said if number.isdigit() and int(number) >= OLDEST_NODE else None
