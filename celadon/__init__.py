"""Celadon: background jobs on Celery that are neither lost nor done twice.

The ledger decides, the broker only rings."""

from celadon import errors
from celadon.errors import Permanent
from celadon.jobs import JobView, Receipt, StepView, Submitted
from celadon.ledger.looking import find, wait
from celadon.ledger.marks import step_views
from celadon.ledger.operating import cancel, replay
from celadon.states import State
from celadon.steps import Steps
from celadon.submit import submit
from celadon.task import job

__all__ = [
    "JobView",
    "Permanent",
    "Receipt",
    "State",
    "StepView",
    "Steps",
    "Submitted",
    "cancel",
    "errors",
    "find",
    "job",
    "replay",
    "step_views",
    "submit",
    "wait",
]
