"""Jobs that do nothing, so that what is measured is the platform."""

from __future__ import annotations

from celadon import job


# `defer`: an outage is to measure what submit costs, not an inline run.
@job("bench.noop", queue="default", fallback="defer", keep=100_000)
def noop(number: int, text: str) -> None:
    """Nothing."""


@job("bench.sync", queue="data_sync", keep=100_000)
def sync(number: int, text: str) -> None:
    """Nothing, in a process of the prefork lane."""
