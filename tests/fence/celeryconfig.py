"""The operator's file of a fence run: the project's own, with the fence's jobs and small, impatient lanes."""

from __future__ import annotations

from typing import Any

from kombu import Queue

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.fence.jobs", "tests.fence.sabotage")
migrations = ()
delegation = ""  # No delegated queues.
beat_schedule: dict[str, Any] = {}  # Each round makes schedules of its own, as operators do.
task_routes = {
    "fence.sync": {"queue": "data_sync"},
    "fence.tenanted": {"queue": "limited"},
    "fence.tick": {"queue": "scheduled"},
    "fence.*": {"queue": "default"},
}
task_queues = [*project.task_queues, Queue("limited")]

# Few enough that jobs wait at each of them in every round, and many enough that a round is over in seconds.
limits: dict[str, list[dict[str, Any]]] = {
    "job fence.limited": [{"concurrency": 2}, {"starts": 5, "per_s": 1}],
    "queue limited": [{"concurrency": 2, "starts": 3, "per_s": 1, "each": "tenant"}],
    "tenant small": [{"concurrency": 1}],
    "job fence.counted": [{"concurrency": 1, "each": "worker"}],
}

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
    "default": {**project.lanes["default"], **_impatient, "concurrency": 6, "queues": ("default", "limited")},
    "data_sync": {**project.lanes["data_sync"], **_impatient, "concurrency": 2},
    "scheduled": {**project.lanes["scheduled"], **_impatient, "concurrency": 8},
}
