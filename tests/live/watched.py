"""What the tests that watch run: jobs whose payload holds a word for the ledger alone, and a web application."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celadon import Permanent, Steps, job, submit
from tests.live.jobs import GATES, SOON, die


@job("watched.works", **SOON)
def works(name: str, word: str) -> dict[str, str]:
    return {"word": word}


@job("watched.fails", attempts=2, **SOON)
def fails(name: str, word: str, steps: Steps) -> None:
    fail(word, steps)


@job("watched.sync.fails", queue="data_sync", attempts=2, **SOON)
def sync_fails(name: str, word: str, steps: Steps) -> None:
    fail(word, steps)


@job("watched.waits", **SOON)
def waits(name: str, word: str) -> None:
    GATES.wait(name)


@job("watched.sync.slow", queue="data_sync", attempts=2, timeout=timedelta(seconds=0.6), **SOON)
def sync_slow(name: str, word: str) -> None:
    """Is late at its first try."""
    if not GATES.reached(name):
        GATES.wait(name)


@job("watched.sync.dies", queue="data_sync", **SOON)
def sync_dies(name: str, word: str) -> None:
    die(name)


@job("watched.nightly", queue="default", attempts=3, timeout=timedelta(minutes=5), **SOON)
def nightly(name: str, word: str) -> None:
    """Fails at its first try."""
    GATES.reach(name)
    if len(GATES.reached(name)) < 2:
        raise RuntimeError("the first try fails")


@job("watched.inline", queue="default", fallback="inline", **SOON)
def inline(name: str, word: str) -> None:
    raise Permanent("no luck")


def fail(word: str, steps: Steps) -> None:
    """Raise in a step, with the word in a local variable, an argument and the parameters of a statement."""
    local = [word]

    def step(session: Any, argument: str) -> None:
        session.connection().exec_driver_sql("SELECT nothing FROM nowhere WHERE word = ?", (argument,))

    steps.run("step", step, local[0])


def create_app() -> Any:
    """The smallest application with the parts of the project's that tell: one route fails, one submits."""
    from flask import Flask, jsonify, request

    from celadon.app import load
    from web import problems, telemetry

    load()
    app = Flask(__name__)
    for part in (telemetry, problems):
        part.install(app)

    @app.get("/api/there")
    def there() -> Any:
        return jsonify(True)

    @app.post("/api/fails/<name>")
    def fails(name: str) -> str:
        body = request.get_json()
        raise RuntimeError(f"it fails with {len(body)} fields")

    @app.post("/api/submits")
    def submits() -> Any:
        body = request.get_json()
        return jsonify(submit(body["job"], body["payload"]).as_dict())

    return app
