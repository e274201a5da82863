"""The operator's file of the proofs of recovery: the project's own lanes, except for what a proof says it changes."""

from __future__ import annotations

import json
import os
from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.guarantees.recovery_jobs",)
migrations = ()
delegation = ""  # No delegated queues.
beat_schedule: dict[str, Any] = {}
limits: dict[str, Any] = {}
_changes = json.loads(os.environ.get("PROOF_LANES", "{}"))
lanes = {name: {**lane, **_changes.get(name, {})} for name, lane in project.lanes.items()}
