"""Who submits in `make demo-delegation`: an application of its own, which is told by lines what it is to submit.

`python -m deploy.demo_delegation_producer` reads `{"queues": [NAME, …], "per_s": 40}` and answers with the jobs' ids.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deploy.stack import ROOT
from deploy.supervision import NotReady

CALLERS = 4  # Who submit at a time.


class Producer:
    """The demo's side. Its process ends when it hears no more."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "deploy.demo_delegation_producer"]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT
            )
        self._log = log

    def submit(self, queues: Sequence[str], *, per_s: float = 0.0) -> list[str]:
        """Submit a job to each of these queues, at that pace (0: as fast as can be); their ids. Raises NotReady."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"queues": queues, "per_s": per_s}).encode() + b"\n")
            self._process.stdin.flush()
            ids: list[str] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise NotReady(f"the producer ended; see {self._log}") from error
        return ids


def main() -> None:
    # Here, since they read the settings when they are imported, and the demo's own process imports this module too.
    from celadon import app, delegate, logs

    app.load()
    logs.configure()

    def submitted(job: tuple[str, float]) -> str:
        queue, at = job
        time.sleep(max(0.0, at - time.monotonic()))
        return delegate(queue, data(queue)).job_id

    with ThreadPoolExecutor(CALLERS) as callers:
        for line in sys.stdin:
            told: dict[str, Any] = json.loads(line)
            began, pause_s = time.monotonic(), 1 / told["per_s"] if told["per_s"] else 0.0
            due = [(queue, began + number * pause_s) for number, queue in enumerate(told["queues"])]
            print(json.dumps(list(callers.map(submitted, due))), flush=True)


def data(queue: str) -> dict[str, str]:
    """What a job is about."""
    return {"to": "ada@example.com", "about": queue}


if __name__ == "__main__":
    main()
