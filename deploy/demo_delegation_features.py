"""The services that `make demo-delegation` delivers to: one Flask application each, with the kit, behind gunicorn.

What a service did is in a file of its own, a line for each: `effect JOB_ID` at the end of a job's work, `ask JOB_ID`
when it is asked what has become of one. The demo counts these lines, and not what the platform says of itself.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from flask import Flask, request

from celadon_feature import Delivery, Feature, SqliteStore
from celadon_feature.flask import blueprint

WORK_S = 0.01  # What a job takes that is nothing special.
SLOW_S = 0.8
LATE_S, LATE_TIMEOUT_S = 2.4, 2.0  # Longer than its queue's time-out, and well within twice that.

EFFECT, ASK = "effect", "ask"


class Unreachable(Exception):
    """The service that a failing one depends on is away."""


def create_app(folder: str, service: str, queues: Iterable[str]) -> Flask:
    """The service of that name, one of `BEHAVIOURS`, for the queues that are its own."""
    home, does = Path(folder), BEHAVIOURS[service]
    feature = Feature(keys=(home / "signing.keys").read_text(), store=SqliteStore(home / f"{service}.db"))

    def work(delivery: Delivery) -> dict[str, object]:
        does()
        note(home, service, EFFECT, delivery.job_id)
        return {"queue": delivery.queue, "done": delivery.data}

    for queue in queues:
        feature.handler(queue)(work)
    app = Flask(__name__)
    app.register_blueprint(blueprint(feature))

    @app.before_request
    def asked() -> None:
        if request.method == "GET":
            note(home, service, ASK, request.path.rpartition("/")[2])

    return app


def _failing() -> None:
    raise Unreachable("the CRM does not answer")


BEHAVIOURS: dict[str, Callable[[], None]] = {
    "office": lambda: time.sleep(WORK_S),
    "mail": lambda: time.sleep(WORK_S),  # Where there is no Node.
    "slow": lambda: time.sleep(SLOW_S),
    "failing": _failing,
    "late": lambda: time.sleep(LATE_S),
    "hung": lambda: time.sleep(WORK_S),  # The demo stops its process.
}


def notes_of(home: Path, service: str) -> Path:
    return home / f"{service}.notes"


def note(home: Path, service: str, what: str, job_id: str) -> None:
    # One short write to a file opened for appending stays whole among those of other threads and processes.
    file = os.open(notes_of(home, service), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{what} {job_id}\n".encode())
    finally:
        os.close(file)


def noted(home: Path, service: str, what: str) -> Counter[str]:
    """How often each job is in a service's notes."""
    file = notes_of(home, service)
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return Counter(job_id for word, job_id in lines if word == what)
