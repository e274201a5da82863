"""The operator's file of a fence run: the project's own, with the fence's jobs and small, impatient lanes."""

from __future__ import annotations

from typing import Any

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.fence.jobs", "tests.fence.sabotage")
migrations = ()
beat_schedule: dict[str, Any] = {}
limits: dict[str, Any] = {}
task_routes = {"fence.sync": {"queue": "data_sync"}, "fence.*": {"queue": "default"}}

# Leases and grace are short because a round lasts seconds; pools are small because the host has two cores. A
# time-out would burn a try and no fault here is a time-out, so it is out of reach.
# A message that died with its worker comes back at once, and nobody's death leaves the restoring locked.
patient_transport_options = {
    **project.patient_transport_options,
    "unacked_mutex_expire": 1,
    "unacked_restore_interval": 0.3,
}

_impatient = {"lease_s": None, "timeout_s": 60, "grace_s": 2, "visibility_s": 1}
lanes = {
    "default": {**project.lanes["default"], **_impatient, "concurrency": 6},
    "data_sync": {**project.lanes["data_sync"], **_impatient, "concurrency": 2},
    "scheduled": {**project.lanes["scheduled"], **_impatient, "concurrency": 4},
}
