"""Replicas as the tests drive them."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

from tests.servers.process import spawn_with_pipes

ROOT = Path(__file__).parents[3]
ANSWERS_WITHIN_S = 15.0


class Replica:
    """One process with a feature on the store at `address`."""

    def __init__(self, address: str, effects: Path) -> None:
        self._log = effects.with_suffix(".log")
        command = [sys.executable, "-m", "tests.contract.celadon_feature.replica", address, str(effects)]
        self._process = spawn_with_pipes(command, self._log, env={**os.environ, "PYTHONPATH": str(ROOT)})
        self._ready = False

    @property
    def name(self) -> str:
        """What its handler returns."""
        return str(self._process.pid)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ready(self) -> None:
        if not self._ready:
            assert self._line() == "ready"
            self._ready = True

    def send(self, job_id: str, queue: str = "steady", until: Path | None = None) -> None:
        """Deliver a job; its handler is at work until the file `until` is there."""
        data = {"until": str(until) if until else None}
        told = {"jobId": job_id, "queueName": queue, "data": data, "attemptsMade": 0}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to the first delivery that has none yet."""
        made: dict[str, Any] = json.loads(self._line())
        return made

    def deliver(self, job_id: str, queue: str = "steady") -> dict[str, Any]:
        self.send(job_id, queue)
        return self.answer()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWERS_WITHIN_S)
        assert readable, f"no answer within {ANSWERS_WITHIN_S:g} s: {self._log.read_text()[-800:]}"
        line = self._process.stdout.readline().decode().strip()
        assert line, f"the replica has ended: {self._log.read_text()[-2000:]}"
        return line
