"""The operator's file of the processes that these tests start: the project's own, with the tests' jobs."""

from __future__ import annotations

import celeryconfig as project

globals().update({name: value for name, value in vars(project).items() if not name.startswith("_")})

imports = ("tests.unit.celadon.jobs",)
migrations = ()
delegation = ""  # No delegated queues.
limits: dict[str, object] = {}
