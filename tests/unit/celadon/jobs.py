"""The jobs of these tests."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from celadon import Steps, job

RAN: list[str] = []  # What ran in this process, in order.
SCRIPT: list[Callable[[Steps], object]] = []


@job("unit.inline", queue="default", fallback="inline")
def inline(word: str) -> dict[str, str]:
    RAN.append(word)
    return {"word": word}


@job("unit.deferred", queue="data_sync")
def deferred(word: str = "x") -> None:
    """Never runs here."""


@job("unit.routed")
def routed(word: str = "x") -> None:
    """Goes where the time says."""


@job("unit.refused", queue="default", fallback="refuse")
def refused(word: str = "x") -> None:
    """Never runs here."""


class Hopeless(Exception):
    """Declared as permanent."""


@job("unit.scripted", queue="default", attempts=3, backoff=timedelta(0), alert_after=2, permanent=(Hopeless,))
def scripted(steps: Steps) -> object:
    """Does what the test has written into SCRIPT."""
    return SCRIPT[-1](steps)


@job("unit.alone", queue="default", attempts=3, backoff=timedelta(0))
def alone(do: str, folder: str, steps: Steps) -> object:
    """Does in another process what the test can only name: `die`, `abort`, `read`, `hang`, or `loop` over a check."""
    Path(folder, f"{do}.begun").touch()
    until = time.monotonic() + 20
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "abort":
        os.abort()
    if do == "read":
        return sys.stdin.read()
    while do in ("hang", "loop") and time.monotonic() < until and not Path(folder, "go on").exists():
        time.sleep(0.02)
        if do == "loop":
            steps.check()
    return [os.getpid(), os.getppid()]


@job("unit.short", queue="default", attempts=3, backoff=timedelta(0), timeout=timedelta(seconds=0.5))
def short(folder: str) -> object:
    """Hangs for longer than it may."""
    Path(folder, "short.begun").write_text(str(os.getpid()))
    time.sleep(30)
    return "too late"
