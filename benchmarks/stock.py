"""The peer: a Celery application with the settings that Celery comes with.

`python -m benchmarks.stock` is a producer that sends one message for each line it reads, and answers with the
milliseconds it took and the error if there was one; `celery -A benchmarks.stock worker` is a worker.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from typing import Any

from celery import Celery

app = Celery("stock")
# Given as an object, or Celery would read the module that CELERY_CONFIG_MODULE names, which is ours.
app.config_from_object({"broker_url": os.environ.get("BROKER_URL")})
QUEUE = "celery"  # Celery's own default, and so not one of ours.
CELERY = (sys.executable, "-m", "celery", "-A", "benchmarks.stock")
PAYLOAD = {"number": 7, "text": "sixty-four characters, about what an order's reference amounts to"}


# Late acknowledgement is what comes nearest to "not lost"; results are off, as ours are not in Redis either.
@app.task(name="stock.noop", acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def noop(number: int, text: str) -> None:
    """Nothing."""


def send() -> None:
    """What an application does to start a task."""
    app.send_task("stock.noop", kwargs=PAYLOAD)


def worker(pool: str, concurrency: int, prefetch: int) -> list[str]:
    """The command line of a worker, without the chatter between workers that ours leave out too."""
    size = ["--pool", pool, "--concurrency", str(concurrency), "--prefetch-multiplier", str(prefetch)]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return [*CELERY, "worker", "--hostname", f"{pool}@%h", *size, *quiet]


class Producer:
    """A process of its own that sends when it is told to, because a send without a limit can't be ended otherwise."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self) -> None:
        """Send one; `answer` tells."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def answer(self, within_s: float) -> dict[str, Any] | None:
        """`{"ms": …, "error": …}` of the send begun last; None: it still hangs after `within_s` seconds."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(within_s):
                return None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def send(self, within_s: float) -> dict[str, Any] | None:
        self.begin()
        return self.answer(within_s)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


def main() -> None:
    for _ in sys.stdin:
        error = None
        began = time.perf_counter()
        try:
            send()
        except Exception as raised:
            error = type(raised).__name__
        print(json.dumps({"ms": (time.perf_counter() - began) * 1000, "error": error}), flush=True)


if __name__ == "__main__":
    main()
