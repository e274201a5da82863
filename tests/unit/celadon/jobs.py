"""The jobs of these tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

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
