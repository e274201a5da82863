"""Beat's schedules as Sentry's monitors: their slugs and rules. (Real check-ins: tests/live/test_watching.py.)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery.schedules import crontab

from celadon import monitors, sentry
from celadon.due import rule_of
from celadon.ids import new_id
from celadon.states import State
from tests.contract.pointed import pointed

JOB = "unit.deferred"  # On data_sync, whose jobs may take four hours.


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("rebuild-order-flags", "rebuild-order-flags"),
        ("Nightly report (EU)", "nightly-report-eu"),
        ("a.b_c", "a-b_c"),
        ("x" * 80, "x" * 50),
    ],
)
def test_a_slug_is_the_schedules_name_as_sentry_can_have_it(name: str, slug: str) -> None:
    assert monitors.slug(name) == slug


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        (crontab(minute="17"), {"type": "crontab", "value": "17 * * * *"}),
        (
            crontab(minute="0", hour="6", day_of_month="1", month_of_year="*/3", day_of_week="mon-fri"),
            {"type": "crontab", "value": "0 6 1 */3 mon-fri"},
        ),
        (60, {"type": "interval", "value": 1, "unit": "minute"}),
        (timedelta(minutes=90), {"type": "interval", "value": 90, "unit": "minute"}),
        (timedelta(hours=3), {"type": "interval", "value": 3, "unit": "hour"}),
        (timedelta(days=2), {"type": "interval", "value": 2, "unit": "day"}),
    ],
)
def test_a_rule_is_told_in_sentrys_words(given: Any, schedule: dict[str, Any]) -> None:
    told = monitors.monitor(rule_of("unit", given), JOB)

    assert told == {"schedule": schedule, "timezone": "UTC", "max_runtime": 5 * 60}


@pytest.mark.parametrize("given", [1, 90, 3661.5])
def test_an_interval_that_sentry_can_not_keep_is_no_monitor(given: float) -> None:
    assert monitors.monitor(rule_of("unit", given), JOB) is None


@pytest.mark.parametrize(("queue", "longest_min"), [(None, 5 * 60), ("default", 65)])
def test_a_run_may_take_as_long_as_the_lane_of_the_schedules_own_queue_allows(
    queue: str | None, longest_min: int
) -> None:
    assert monitors.monitor(rule_of("unit", 60), JOB, queue)["max_runtime"] == longest_min


def test_a_job_checks_out_though_the_ledger_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("sentry_sdk.crons.capture_checkin", lambda **facts: told.append(facts))
    monkeypatch.setattr(sentry, "_process", "worker")

    with pointed(ledger_url="sqlite:////no/such/folder/x.db"):
        monitors.ended(new_id(), "Nightly", State.QUEUED, 1.5)
        monitors.ended(new_id(), "Nightly", State.DEAD, 2.5)

    (closing,) = told
    assert (closing["monitor_slug"], closing["status"], closing["duration"]) == ("nightly", "error", 2.5)
