"""The operator's file of the count of connections: the benchmarks' own, with slots for a thousand queues."""

from __future__ import annotations

from benchmarks import celeryconfig as ours
from benchmarks.celeryconfig import *  # noqa: F403

lanes = {**ours.lanes, "delegated": {**ours.lanes["delegated"], "concurrency": 1_024}}
