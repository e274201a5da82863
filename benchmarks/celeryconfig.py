"""The operator's file of the benchmarks: the project's own, with a job that does nothing."""

from __future__ import annotations

import celeryconfig as project
from celeryconfig import *  # noqa: F403

imports = (*project.imports, "benchmarks.jobs")  # type: ignore[assignment]
delegation = ""  # No delegated queues.
