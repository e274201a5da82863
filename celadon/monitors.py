"""Beat's schedules as Sentry's monitors.

A job of a schedule checks in when it begins, each time that it begins again, and when it has ended for good. What did
not come at all Sentry finds out by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celadon import registry, sentry
from celadon.due.rules import FIELDS
from celadon.ledger import schedules
from celadon.ledger.schedules import Entry
from celadon.queues import lane_of
from celadon.states import FINAL, State

SLUG = 50  # Characters that Sentry allows.
UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))  # It keeps no intervals but whole minutes.
MOST_MIN = 28 * 24 * 60  # Longest run, or latest beginning, that it can wait for.


def begun(job_id: str, schedule: str | None) -> None:
    """A run of the job begins. Sentry learns what it has to know of the schedule. Raises LedgerUnavailable."""
    if schedule is None or not sentry.is_on():
        return
    row = schedules.find(schedule)
    config = monitor(schedules.entry_of(row)) if row is not None else None
    if config is not None:
        _check_in(job_id, schedule, "in_progress", monitor_config=config)


def ended(job_id: str, schedule: str | None, state: State, seconds: float | None = None) -> None:
    """A run has ended, and the job is in `state` now: one that is to be tried again goes on being in progress.

    The ledger is not asked: Sentry drops what closes a check-in of a monitor that it does not know.
    """
    if schedule is not None and sentry.is_on() and state in FINAL:
        _check_in(job_id, schedule, "ok" if state == State.SUCCEEDED else "error", duration=seconds)


def _check_in(job_id: str, schedule: str, status: str, **more: Any) -> None:
    from sentry_sdk.crons import capture_checkin

    capture_checkin(
        monitor_slug=slug(schedule),
        check_in_id=UUID(job_id).hex,  # The same for all its runs, whichever process tells.
        status=status,
        **more,
    )


def slug(schedule: str) -> str:
    """A schedule's name as Sentry can have it."""
    return re.sub(r"[^a-z0-9_-]+", "-", schedule.lower()).strip("-")[:SLUG]


def monitor(schedule: Entry) -> Any:
    """What Sentry has to know to miss a run; None for what it can't keep.

    It knows no schedule that comes once or ends, takes a day for due if it fits either day field of a crontab, and
    keeps no intervals but whole minutes.
    """
    every = None if schedule.ends_at is not None else _every(schedule.spec)
    margin_min = math.ceil(schedule.jitter_s / 60)
    if every is None or margin_min > MOST_MIN:
        return None
    told = {
        "schedule": every,
        "timezone": schedule.spec.get("timezone", "UTC"),
        "max_runtime": _max_runtime_min(schedule.job, schedule.queue),
    }
    # Beside the minute that it allows anyway.
    return {**told, "checkin_margin": margin_min + 1} if margin_min else told


def _every(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    if "crontab" in rule:
        fields = rule["crontab"]
        if "*" not in (fields["day_of_month"], fields["day_of_week"]):
            return None
        return {"type": "crontab", "value": " ".join(fields[field] for field in FIELDS)}
    if "every_s" in rule:
        for unit, length in UNITS:
            if rule["every_s"] % length == 0:
                return {"type": "interval", "value": int(rule["every_s"] // length), "unit": unit}
    return None


def _max_runtime_min(job: str, queue: str | None) -> int:
    """From one check-in to the next: the longest run, and the longest wait for another try."""
    definition = registry.get(job)
    lane = lane_of(queue or definition.queue_of(delayed=True))
    longest_s = definition.timeout.total_seconds() if definition.timeout else lane.timeout_s
    return min(MOST_MIN, math.ceil((longest_s + definition.backoff_cap.total_seconds()) / 60))
