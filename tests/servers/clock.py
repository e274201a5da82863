"""A clock that runs faster, for a server's process and those that it forks: libfaketime (apt `faketime`)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.servers.process import Missing


def fast_clock(start: datetime, times: int) -> dict[str, str]:
    """The environment of a process whose clock begins at `start` when it starts, and runs so many times as fast.

    Only what it reads as the time of day is changed, not what its pauses are measured by.

    Raises:
        Missing: libfaketime is not installed on this host.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise Missing("none of libfaketimeMT.so.1 (apt: faketime) is installed")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"@{start.astimezone(UTC):%Y-%m-%d %H:%M:%S} x{times}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
