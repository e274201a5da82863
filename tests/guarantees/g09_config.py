"""The operator's file of G9: the project's own lanes, with one job and no schedules."""

from __future__ import annotations

from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.guarantees.g09_jobs",)
migrations = ()
delegation = ""  # No delegated queues.
beat_schedule: dict[str, Any] = {}
limits: dict[str, Any] = {}
