"""The job of G10's schedules. Nobody runs it: what counts is that it was made."""

from __future__ import annotations

from celadon import job


@job("g10.nothing", queue="default")
def nothing() -> None:
    """Is never run."""
