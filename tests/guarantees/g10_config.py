"""The operator's file of G10 in two versions: BEAT_GENERATION=2 changes a rule, adds a schedule and removes one."""

from __future__ import annotations

import os
from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.guarantees.g10_jobs",)
migrations = ()
delegation = ""  # No delegated queues.
limits: dict[str, Any] = {}


def _schedule(every_s: int, missed: str, **more: Any) -> dict[str, Any]:
    return {"task": "g10.nothing", "schedule": every_s, "missed": missed, "missed_max": 1000, **more}


beat_generation = int(os.environ.get("BEAT_GENERATION", "1"))
beat_schedule = {
    **{f"all-{number}": _schedule(1 + number % 5, "all") for number in range(12)},
    **{f"late-{number}": _schedule(1 + number, "all", jitter_s=0.5) for number in range(2)},
    **{f"latest-{number}": _schedule(4 + number, "latest") for number in range(2)},
    "skipped": _schedule(70, "skip"),
}
if beat_generation == 1:
    beat_schedule |= {"changed": _schedule(2, "all"), "removed": _schedule(1, "all")}
else:
    beat_schedule |= {"changed": _schedule(3, "all"), "added": _schedule(1, "all")}
