"""A producer process that does what a test asks, one JSON line at a time: submit, find, wait, cancel and the like.

A process of its own, as in production: it has its own settings, connections and circuit, and can be killed.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.forked import Forked, fork


class Refusal(Exception):
    """The platform raised; `kind` is the class's name and `took_ms` how long it took."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.kind = str(answer["error"])
        self.took_ms = float(answer["took_ms"])
        self.job_id = answer.get("job_id")
        super().__init__(f"{self.kind}: {answer['message']}")


class Caller:
    """The test's side."""

    def __init__(self, env: Mapping[str, str], folder: Path, name: str = "caller") -> None:
        self.took_ms = 0.0
        self._log = folder / f"{name}.log"
        self._process: Forked = fork([sys.executable, "-m", "tests.live.caller"], self._log, env=env, pipes=True)

    def ask(self, what: str, *args: Any, **kwargs: Any) -> Any:
        """Have `what` done; `took_ms` then says how long it took over there.

        Raises:
            Refusal: the platform raised.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"what": what, "args": args, "kwargs": kwargs}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the caller ended:\n{self._log.read_text()[-2000:]}"
        answer = json.loads(line)
        if "error" in answer:
            raise Refusal(answer)
        self.took_ms = answer["took_ms"]
        return answer["value"]

    def submit(self, job: str, name: str, **options: Any) -> dict[str, Any]:
        """Submit a job of the live tests; returns its receipt."""
        payload = {"name": name, **options.pop("payload", {})}
        receipt: dict[str, Any] = self.ask("submit", job, payload, **options)
        return receipt

    def ports(self) -> set[int]:
        """The TCP ports that its connections go out from."""
        here = Path(f"/proc/{self._process.pid}")
        sockets = {os.readlink(file).removeprefix("socket:[").rstrip("]") for file in (here / "fd").iterdir()}
        lines = [line.split() for line in (here / "net/tcp").read_text().splitlines()[1:]]
        return {int(line[1].partition(":")[2], 16) for line in lines if line[9] in sockets}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


def main() -> None:
    """The process itself: answers until its input ends."""
    made = count_redis_clients()
    import celadon
    from celadon.app import load

    load()
    done: dict[str, Callable[..., Any]] = {
        "submit": lambda *args, **kwargs: celadon.submit(*args, **kwargs).as_dict(),
        "delegate": lambda *args, **kwargs: celadon.delegate(*args, **kwargs).as_dict(),
        "find": lambda job_id: (view := celadon.find(job_id)) and view.as_dict(),
        "wait": lambda job_id, seconds: (view := celadon.wait(job_id, seconds)) and view.as_dict(),
        "cancel": lambda job_id: str(celadon.cancel(job_id)),
        "replay": lambda job_id: celadon.replay(job_id),
        "circuit": lambda: circuit_open(),
        "redis_clients_made": lambda: made["clients"],
    }
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter()
        answer: dict[str, Any]
        try:
            answer = {"value": done[order["what"]](*order["args"], **order["kwargs"])}
        except Exception as error:
            answer = {
                "error": type(error).__name__,
                "message": str(error),
                "job_id": getattr(error, "job_id", None),
            }
        answer["took_ms"] = (time.perf_counter() - began) * 1000
        print(json.dumps(answer, default=str), flush=True)


def count_redis_clients() -> dict[str, int]:
    """Count from now on how many clients anybody but kombu makes (it makes one per operation, on its own pools)."""
    made = {"clients": 0}
    init = redis.Redis.__init__

    def counting(self: Any, *args: Any, **kwargs: Any) -> None:
        if "kombu" not in str(inspect.stack()[1].filename):
            made["clients"] += 1
        init(self, *args, **kwargs)

    setattr(redis.Redis, "__init__", counting)  # noqa: B010
    return made


def circuit_open() -> bool:
    from celadon import broker

    return broker.circuit.open


if __name__ == "__main__":
    main()
