"""A running Celadon whose workers deliver to a service in this process: its file can be changed, its port be asked."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.eventually import eventually
from tests.live.caller import Refusal
from tests.live.nodes import Worker
from tests.live.platform import Platform
from tests.servers import FeatureServer
from tests.servers.process import free_port

CONFIG = "tests.live.delegatedconfig"
KEYS = "whsec_" + "B" * 32


class Delegating(Platform):
    """A deployment with Beat, a producer and a worker of the lane `delegated`. `register` before `begin`."""

    def begin(self, feature: FeatureServer) -> None:
        self.feature = feature
        self.port = free_port()
        self.file = self.folder / "delegation.toml"
        told = {"CELERY_CONFIG_MODULE": CONFIG, "DELEGATION_FILE": str(self.file), "PORT": str(self.port)}
        self.more = {**self.more, **told, "LEDGER_TIMEOUT_S": "10", "CALLBACK_KEYS": KEYS}
        self.register(["email"])
        self.beat()
        self.fleet = self.started("delegated")
        self.call = self.caller()
        eventually("the limits of the file hold", lambda: self.limits())

    def register(self, queues: list[str], **entry: str) -> None:
        """Put a file with these queues in the place of the last one. entry: laid over each of them, as in the file."""
        fields = {"service": '"mail"', "timeout": "5000", "networks": '["loopback"]', "concurrency": "2", **entry}
        lines = ["[services]", f'mail = "{self.feature.url}"']
        lines += [f'[callbacks."{self.feature.url}"]', 'networks = ["loopback"]', 'keys = { env = "CALLBACK_KEYS" }']
        for queue in queues:
            lines += [f"[queues.{queue}]", *(f"{name} = {value}" for name, value in fields.items())]
        self.write("\n".join(lines) + "\n")

    def write(self, content: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(content)
        new.replace(self.file)

    def delegate(self, queue: str, data: Any = None, **options: Any) -> str:
        """The job's id. A queue that was just registered is known to a producer a second later."""

        def accepted() -> str:
            try:
                return str(self.call.ask("delegate", queue, data, **options)["job_id"])
            except Refusal as refusal:
                if refusal.kind != "UnknownQueue":
                    raise
                return ""

        return eventually(f"the producer knows the queue {queue}", accepted, within=3)

    def limits(self) -> dict[str, Any]:
        """The limits of queues, by name."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT name, limits FROM switches WHERE limits IS NOT NULL")).all()
        return {row.name: json.loads(row.limits) for row in rows}

    def consumed(self) -> set[str]:
        """The queues that workers say to consume."""
        with self.engine.connect() as connection:
            told = connection.execute(text("SELECT queues FROM workers WHERE lane = 'delegated'")).scalars().all()
        return {queue for queues in told for queue in json.loads(queues)}

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """What the fleet tells over HTTP; (0, {}) if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def status_of(self, queue: str) -> dict[str, Any]:
        """What the fleet tells of one queue; {} if it does not know it."""
        told = self.ask("/internal/status")[1].get("queues", [])
        return next((one for one in told if one["name"] == queue), {})


def connections(worker: Worker, ledger: str) -> Mapping[str, int]:
    """What a worker's process holds open: sockets, and handles on the file of an SQLite ledger."""
    file = ledger.removeprefix("sqlite:///")
    targets = []
    for handle in Path(f"/proc/{worker.container.pid}/fd").iterdir():
        try:
            targets.append(os.readlink(handle))
        except FileNotFoundError:
            continue
    return {
        "sockets": sum(target.startswith("socket:") for target in targets),
        "ledger": sum(target.startswith(file) for target in targets),
    }
