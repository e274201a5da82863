"""Jobs for the live tests. Their `name` is the test's, so that tests share workers and never meet."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from celadon import Steps, job
from tests.live.effects import effects
from tests.live.gates import Gates

GATES = Gates(Path(os.environ["LIVE_DIR"]) / "gates")
SOON: dict[str, Any] = {"backoff": timedelta(milliseconds=100), "keep": 10_000}


def leave(session: Session, name: str, step: str) -> None:
    session.execute(insert(effects).values(name=name, step=step, pid=os.getpid()))


def be_here(name: str) -> dict[str, Any]:
    GATES.reach(name)
    return {"name": name, "pid": os.getpid()}


def two_steps(name: str, steps: Steps) -> dict[str, int]:
    """Two committed steps with a gate between them."""
    steps.run("first", leave, name, "first")
    GATES.wait(name)
    steps.run("second", leave, name, "second")
    return {"pid": os.getpid()}


def die(name: str) -> None:
    """Kill the process that this runs in, whatever that is."""
    GATES.reach(name)
    os.kill(os.getpid(), signal.SIGKILL)


def be_late_once(name: str, steps: Steps) -> None:
    """Run out of time at the first try, be quick at the second."""
    if not GATES.reached(name):
        GATES.wait(name)
    steps.run("late", leave, name, "late")


@job("live.echo", **SOON)
def echo(name: str) -> dict[str, Any]:
    return be_here(name)


@job("live.deferred", fallback="defer", **SOON)
def deferred(name: str) -> dict[str, Any]:
    return be_here(name)


@job("live.refused", fallback="refuse", **SOON)
def refused(name: str) -> dict[str, Any]:
    return be_here(name)


@job("live.stepped", **SOON)
def stepped(name: str, steps: Steps) -> dict[str, int]:
    return two_steps(name, steps)


@job("live.sync.stepped", queue="data_sync", **SOON)
def sync_stepped(name: str, steps: Steps) -> dict[str, int]:
    return two_steps(name, steps)


@job("live.calls.another", **SOON)
def calls_another(name: str) -> Any:
    """Calls another job as the plain function it is."""
    return echo(name)


@job("live.cancellable", **SOON)
def cancellable(name: str, steps: Steps) -> None:
    """Looks at every turn whether it has to give way."""
    steps.run("first", leave, name, "first")
    GATES.wait(name, between=steps.check)
    steps.run("second", leave, name, "second")


@job("live.poison", **SOON)
def poison(name: str) -> None:
    die(name)


@job("live.sync.poison", queue="data_sync", **SOON)
def sync_poison(name: str) -> None:
    die(name)


@job("live.overrun", attempts=2, timeout=timedelta(seconds=0.6), **SOON)
def overrun(name: str, steps: Steps) -> None:
    be_late_once(name, steps)


@job("live.sync.overrun", queue="data_sync", attempts=2, timeout=timedelta(seconds=0.6), **SOON)
def sync_overrun(name: str, steps: Steps) -> None:
    be_late_once(name, steps)


@job("live.sleeper", **SOON)
def sleeper(name: str, seconds: float, steps: Steps) -> None:
    GATES.reach(name)
    steps.run("before", leave, name, "before")
    steps.sleep("nap", seconds)
    steps.run("after", leave, name, "after")


@job("live.flaky", **SOON)
def flaky(name: str) -> int:
    """Fails at its first two tries."""
    GATES.reach(name)
    tries = len(GATES.reached(name))
    if tries < 3:
        raise RuntimeError(f"try {tries} fails")
    return tries


@job("live.adopted", adopt=True, **SOON)
def adopted(name: str) -> dict[str, Any]:
    return be_here(name)
