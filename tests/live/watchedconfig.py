"""The operator's file of the tests that watch: that of the live tests, with other jobs and a schedule."""

from __future__ import annotations

from tests.live import celeryconfig as live

globals().update({name: value for name, value in vars(live).items() if not name.startswith("_")})

WORD = "a-word-for-the-ledger-alone"  # In every payload; nobody else may ever see it.

# A prefork pool that has lost a child takes 3 s to stop, and 2 s of the grace are kept.
lanes = {name: {**lane, "grace_s": 8} for name, lane in live.lanes.items()}
imports = ("tests.live.jobs", "tests.live.watched")
task_routes = {**live.task_routes, "watched.*": {"queue": "default"}}
beat_schedule = {
    "Watched: nightly": {"task": "watched.nightly", "schedule": 3600, "kwargs": {"name": "nightly", "word": WORD}},
}
