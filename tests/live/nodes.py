"""pytest-celery's containers, nodes and clusters, backed by processes of this host instead of Docker.

`CeleryTestContainer` is the plugin's port to whatever a node runs in. `WorkerProcess` fills it with the process that
users start, `celadon worker LANE`, so `CeleryTestWorker` and `CeleryWorkerCluster` work as they are: `kill`,
`restart`, `logs`, `wait_for_log`, `ready`, `teardown`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import celery
from pytest_celery import CeleryTestContainer, CeleryTestWorker, CeleryWorkerCluster

from tests.eventually import eventually
from tests.forked import Forked, fork
from tests.servers.process import celadon, kill_group

# A worker imports Celery and the ledger's libraries: about 1.5 s on two busy cores.
START_S = 30.0


class WorkerProcess(CeleryTestContainer):  # type: ignore[misc]
    """One `celadon worker LANE` and the children it forks, as a container.

    Args:
        lane: the lane to work.
        env: the whole environment of the process.
        folder: its working directory, where its log goes as well.
        name: unique among the test's workers.
        words: more words for the command line, for example `("--concurrency", "2")`.
    """

    def __init__(self, lane: str, env: Mapping[str, str], folder: Path, name: str, words: tuple[str, ...] = ()) -> None:
        # The base class would ask a Docker engine about a container; there is none.
        self.lane = lane
        self._name = name
        self._env = dict(env)
        self._folder = folder
        self._command = celadon("worker", lane, *words)
        self.log = folder / f"{name}.log"
        self._process: Forked | None = None

    # --- what CeleryTestNode asks for

    @property
    def id(self) -> str:
        return f"{self._name}-{self.pid}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def status(self) -> str:
        return "running" if self._process is not None and self._process.poll() is None else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return {"url": self._env["BROKER_URL"], "host_url": self._env["BROKER_URL"]}

    @property
    def ready_prompt(self) -> str:
        return "worker.ready"

    def ready(self) -> bool:
        """Wait until it consumes; fail with its log when it ended instead."""

        def prompted() -> bool:
            assert self.status == "running", f"{self._name} ended at its start:\n{self.logs()[-3000:]}"
            return self.ready_prompt in self.logs()

        eventually(f"{self._name} is ready", prompted, within=START_S)
        return True

    def logs(self, *_: Any, **__: Any) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal to the worker's main process alone; its children are not told."""
        os.kill(self.pid, _number(signal))

    def restart(self, timeout: float = 30) -> None:
        """Stop it gently, by force after `timeout` seconds, and start it anew."""
        self.stop(timeout)
        self.start()

    def reload(self) -> None:
        """A container's attributes are cached by Docker's client; a process has nothing to refresh."""

    def teardown(self) -> None:
        if self._process is not None:
            kill_group(self._process)
            self._process.wait(10)

    # --- what processes add

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Ids of the processes that the worker forked and that live."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []

    def start(self) -> None:
        """Start it without waiting; `ready` waits. Its log begins anew."""
        self.log.unlink(missing_ok=True)
        self._process = fork(self._command, self.log, env=self._env, cwd=self._folder)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, wait, and by force after `timeout` seconds; returns the exit status."""
        assert self._process is not None
        if self.status == "running":
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.teardown()
            return self._process.wait(10)

    def kill_all(self) -> None:
        """SIGKILL to the worker and its children, as when a host dies."""
        assert self._process is not None
        kill_group(self._process)
        self._process.wait(10)

    # --- what CeleryTestWorker asks for

    @classmethod
    def version(cls) -> str:
        return str(celery.__version__)

    @classmethod
    def log_level(cls) -> str:
        return "INFO"

    def worker_name(self) -> str:
        return self._name

    def worker_queue(self) -> str:
        return self.lane


class Worker(CeleryTestWorker):  # type: ignore[misc]
    """The plugin's worker node; only the type of its container is narrower."""

    container: WorkerProcess

    def __init__(self, container: WorkerProcess) -> None:
        super().__init__(container, app=None)

    def stop(self, timeout: float = 30) -> int:
        return self.container.stop(timeout)


class Workers(CeleryWorkerCluster):  # type: ignore[misc]
    """The plugin's cluster: started together, waited for together."""

    def start(self) -> None:
        for node in self:
            node.container.start()
        assert self.ready()

    def teardown(self) -> None:
        for node in self:
            node.teardown()


def _number(name: str | int) -> signal.Signals:
    return signal.Signals[name] if isinstance(name, str) else signal.Signals(name)
