"""The peer for limits: stock Celery's `rate_limit`, which each worker keeps for itself.

`celery -A benchmarks.rated worker` is a worker. Whoever wants 500 starts a second over two workers has to say 250.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

from celery import Celery

app = Celery("rated")
app.config_from_object({"broker_url": os.environ.get("BROKER_URL")})
QUEUE = "rated"
PER_WORKER = 250


@app.task(name="rated.start", acks_late=True, ignore_result=True, rate_limit=f"{PER_WORKER}/s")  # type: ignore[untyped-decorator]
def start() -> None:
    """Appends when it began."""
    os.write(_file(), f"{time.time_ns()}\n".encode())


@cache
def _file() -> int:
    return os.open(Path(os.environ["RATED_FILE"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
