"""A deployment that is watched in every way: metrics, Sentry, logs and heartbeats of two workers, Beat and the web."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from tests.eventually import eventually
from tests.forked import Forked, fork
from tests.live.nodes import Workers
from tests.live.platform import Platform
from tests.live.watchedconfig import WORD
from tests.servers import SentrySink
from tests.servers.process import celadon, free_port, kill_group

PROCESSES = ("default", "data_sync", "beat", "web")
BEATING = ("default", "data_sync", "beat")  # The web is asked over HTTP.
KEY = "cel_a-key-that-nobody-may-read"


@dataclass
class Watched(Platform):
    sentry: SentrySink = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ports = {name: free_port() for name in PROCESSES}
        self.web_port = free_port()
        self.others: dict[str, Forked] = {}

    def start(self) -> None:
        self.lanes = {lane: self.worker(lane, **self._own(lane)) for lane in ("default", "data_sync")}
        web = {"WEB_APP": "tests.live.watched:create_app()", "WEB_BIND": f"127.0.0.1:{self.web_port}"}
        web["LEDGER_TIMEOUT_S"] = "10"  # A busy host is no reason to refuse what a test submits.
        self._spawn("beat")
        self._spawn("web", **web)
        Workers(*self.lanes.values()).start()
        # Sooner a worker has no handler for a signal yet.
        eventually("all are ready", lambda: all(map(self.is_ready, BEATING)), within=30)
        eventually("the web answers", lambda: self.ask("GET", "/api/there")[0], within=30)

    def _spawn(self, name: str, **more: str) -> None:
        env = {**self.env, **self._own(name), **more}
        self.others[name] = fork(celadon(name), self.folder / f"{name}.log", env=env, cwd=self.folder)

    def _own(self, name: str) -> dict[str, str]:
        return {"METRICS_BIND": f"127.0.0.1:{self.ports[name]}", "HEARTBEAT_FILE": str(self.heartbeat(name))}

    def stop(self) -> None:
        super().stop()
        for process in self.others.values():
            kill_group(process)
            process.wait(10)

    # --- heartbeats

    def heartbeat(self, name: str) -> Path:
        return self.folder / f"{name}.heartbeat"

    def beaten_at(self, name: str) -> int:
        return self.heartbeat(name).stat().st_mtime_ns

    def ready_file(self, name: str) -> Path:
        return self.folder / f"{name}.heartbeat.ready"

    def is_ready(self, name: str) -> bool:
        return self.ready_file(name).exists()

    # --- the web

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, JSON and headers of an answer; status 0 when there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read(), refused.headers
        except OSError:
            return 0, None, {}

    def submit(self, job: str, name: str, **headers: str) -> str:
        body = {"job": job, "payload": {"name": name, "word": WORD}}
        job_id: str = self.ask("POST", "/api/submits", body, **headers)[1]["job_id"]
        return job_id

    # --- metrics

    def metrics(self, of: str) -> list[tuple[str, Mapping[str, str], float]]:
        address = f"http://127.0.0.1:{self.ports[of]}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def value(self, of: str, metric: str, **labels: str) -> float:
        """The sum over all series with these labels."""
        found = [value for name, its, value in self.metrics(of) if name == metric and labels.items() <= its.items()]
        return sum(found)

    def values(self, of: str, metric: str, by: str, **labels: str) -> dict[str, float]:
        """The values of the series with these labels, by another label."""
        return {
            its[by]: value for name, its, value in self.metrics(of) if name == metric and labels.items() <= its.items()
        }

    # --- logs

    def lines(self, process: str) -> list[str]:
        name = self.lanes[process].container.log.name if process in self.lanes else f"{process}.log"
        return [line for line in (self.folder / name).read_text(errors="replace").splitlines() if line]

    def logged(self, process: str, event: str, **fields: object) -> list[dict[str, Any]]:
        """Lines with this event and these fields."""
        told = [json.loads(line) for line in self.lines(process)]
        return [one for one in told if one["event"] == event and fields.items() <= one.items()]

    # --- the ledger, past the platform

    def write(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def unfinished(self) -> int:
        with self.engine.connect() as connection:
            left = "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'dead', 'cancelled')"
            return int(connection.execute(text(left)).scalar_one())

    def outcomes(self, job: str) -> dict[str, int]:
        """How many attempts of jobs of this name have ended how."""
        told = text("SELECT outcome FROM attempts JOIN jobs ON jobs.id = job_id WHERE name = :name")
        with self.engine.connect() as connection:
            return dict(Counter(connection.execute(told, {"name": job}).scalars()))
