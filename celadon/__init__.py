"""Celadon: background jobs on Celery that are neither lost nor done twice.

The ledger decides, the broker only rings.

What is named here is imported when it is first used: a program that only takes `celadon.client` from here loads
neither Celery nor SQLAlchemy, and needs no `celeryconfig`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from celadon import errors

if TYPE_CHECKING:
    from celadon.bulk import Submission, submit_many
    from celadon.delegation.submitting import delegate
    from celadon.errors import Permanent
    from celadon.jobs import JobSummary, JobView, Receipt, StepView, Submitted
    from celadon.ledger.listing import JobPage, list_jobs
    from celadon.ledger.looking import find, wait
    from celadon.ledger.marks import step_views
    from celadon.ledger.operating import cancel, replay, reschedule, run_now
    from celadon.states import State
    from celadon.steps import Steps
    from celadon.submit import submit
    from celadon.task import job

__all__ = [
    "JobPage",
    "JobSummary",
    "JobView",
    "Permanent",
    "Receipt",
    "State",
    "StepView",
    "Steps",
    "Submission",
    "Submitted",
    "cancel",
    "delegate",
    "errors",
    "find",
    "job",
    "list_jobs",
    "replay",
    "reschedule",
    "run_now",
    "step_views",
    "submit",
    "submit_many",
    "wait",
]

_HOME = {
    "JobPage": "celadon.ledger.listing",
    "JobSummary": "celadon.jobs",
    "JobView": "celadon.jobs",
    "Permanent": "celadon.errors",
    "Receipt": "celadon.jobs",
    "State": "celadon.states",
    "StepView": "celadon.jobs",
    "Steps": "celadon.steps",
    "Submission": "celadon.bulk",
    "Submitted": "celadon.jobs",
    "cancel": "celadon.ledger.operating",
    "delegate": "celadon.delegation.submitting",
    "find": "celadon.ledger.looking",
    "job": "celadon.task",
    "list_jobs": "celadon.ledger.listing",
    "replay": "celadon.ledger.operating",
    "reschedule": "celadon.ledger.operating",
    "run_now": "celadon.ledger.operating",
    "step_views": "celadon.ledger.marks",
    "submit": "celadon.submit",
    "submit_many": "celadon.bulk",
    "wait": "celadon.ledger.looking",
}
"""Where each public name comes from."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Importing the module `celadon.submit` would set it in place of the function; public names stay what they are."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
