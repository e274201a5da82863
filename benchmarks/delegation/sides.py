"""What the two sides have in common, so that they are driven and measured in the same way."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

WORK_MS = 5  # What the service takes for a job.
CALLERS = 4  # Who submit at a time.
KEY = "whsec_YmVuY2htYXJrcyBzaWduIHdpdGggdGhpcyBrZXkgIQ=="
TEXT = "sixty-four characters, about what an order's reference amounts to"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A submitted job; times are those of this host's clock, in seconds."""

    queue: str
    id: str
    submitted_at: float


class Side(Protocol):
    """Ours, or the peer."""

    name: str

    def submit(self, queues: Sequence[str], *, per_s: float = 0.0) -> tuple[list[Job], float]:
        """Submit a job to each of these queues, at that pace (0: as fast as can be); the jobs, and how long it took."""

    def finished_at(self, jobs: Sequence[Job]) -> dict[Job, float]:
        """When each of these jobs was done, by the side's own book; only of those that are."""

    def workers(self) -> list[int]:
        """The processes that deliver."""

    def others(self) -> list[int]:
        """Processes that the workers need."""


def queues() -> dict[str, int]:
    """The 38 queues of the project's registration file, and how many deliveries of each are under way at most."""
    told = tomllib.loads(Path("delegation.toml").read_text())["queues"]
    return {name: entry.get("concurrency", 5) for name, entry in told.items()}
