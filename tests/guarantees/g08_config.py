"""The operator's file of G8: one job, of which 500 may start in any second, and a lane that is wide enough for them."""

from __future__ import annotations

from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.guarantees.g08_jobs",)
migrations = ()
delegation = ""  # No delegated queues.
beat_schedule: dict[str, Any] = {}
limits = {"job proof.start": [{"starts": 500, "per_s": 1}]}
