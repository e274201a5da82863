"""A module that only newly deployed workers know."""

from __future__ import annotations

from typing import Any

from celadon import job
from tests.live.jobs import SOON, be_here


@job("live.late", **SOON)
def late(name: str) -> dict[str, Any]:
    return be_here(name)
