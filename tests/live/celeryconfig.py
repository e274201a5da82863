"""The operator's file of the live tests: the project's own, with the tests' jobs and impatient lanes."""

from __future__ import annotations

import os
from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

# A rolling deployment, seen by the tests: some processes know the second module, others not yet.
imports = tuple(os.environ.get("LIVE_IMPORTS", "tests.live.jobs").split(","))
migrations = ()
delegation = ""  # No delegated queues.
beat_schedule: dict[str, Any] = {}
limits: dict[str, Any] = {}
task_routes = {"live.sync.*": {"queue": "data_sync"}, "live.*": {"queue": "default"}}

_impatient = {"lease_s": None, "timeout_s": 60, "grace_s": 2, "visibility_s": 5}
lanes = {
    "default": {**project.lanes["default"], **_impatient, "concurrency": 4},
    "data_sync": {**project.lanes["data_sync"], **_impatient, "concurrency": 2},
    "scheduled": {**project.lanes["scheduled"], **_impatient, "concurrency": 4},
}
