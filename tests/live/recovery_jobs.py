"""Jobs that spoil the worker they run in, and those beside them."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from celadon import Steps, job
from tests.live.gates import Gates
from tests.live.jobs import SOON, leave

GATES = Gates(Path(os.environ["LIVE_DIR"]) / "gates")


def last(name: str, seconds: float, steps: Steps) -> int:
    """Run for a while, and leave one effect."""
    GATES.reach(name)
    time.sleep(seconds)
    steps.run("done", leave, name, "done")
    return os.getpid()


@job("recovery.lasting", **SOON)
def lasting(name: str, seconds: float, steps: Steps) -> int:
    return last(name, seconds, steps)


@job("recovery.sync.lasting", queue="data_sync", **SOON)
def sync_lasting(name: str, seconds: float, steps: Steps) -> int:
    return last(name, seconds, steps)


@job("recovery.whole", **SOON)
def whole(name: str, seconds: float) -> None:
    """Has no step at which it could stop."""
    GATES.reach(name)
    time.sleep(seconds)


@job("recovery.sync.whole", queue="data_sync", **SOON)
def sync_whole(name: str, seconds: float) -> None:
    GATES.reach(name)
    time.sleep(seconds)


@job("recovery.lost", attempts=1, timeout=timedelta(seconds=0.5), **SOON)
def lost(name: str) -> None:
    """Runs out of time and takes its thread with it: it waits for what never comes, and looks at nothing."""
    GATES.wait(name)


@job("recovery.kills.all", **SOON)
def kills_all(name: str) -> None:
    """Takes along everything that its worker has started, as a lack of memory takes a container along."""
    GATES.reach(name)
    os.killpg(0, signal.SIGKILL)


@job("recovery.swells", **SOON)
def swells(name: str) -> None:
    """Takes memory until somebody is killed for it."""
    GATES.reach(name)
    held: list[Any] = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)) * 16)
