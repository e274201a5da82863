"""A module that only newly deployed workers know."""

from __future__ import annotations

from typing import Any

from celadon import job
from tests.live.jobs import SOON, echo


@job("live.late", **SOON)
def late(name: str) -> dict[str, Any]:
    return echo(name)
