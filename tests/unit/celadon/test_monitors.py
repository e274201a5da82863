"""Beat's schedules as Sentry's monitors: their slugs and rules. (Real check-ins: tests/live/test_watching.py.)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import crontab

from celadon import monitors, sentry
from celadon.due import rules
from celadon.ids import new_id
from celadon.ledger.schedules import Entry
from celadon.states import State
from tests.contract.pointed import pointed

JOB = "unit.deferred"  # On data_sync, whose jobs may take four hours.


def monitor(given: Any, timezone: str | None = None, **facts: Any) -> Any:
    return monitors.monitor(Entry(name="unit", job=JOB, spec=rules.of(given, timezone), payload={}, **facts))


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
            crontab(minute="0", hour="6", month_of_year="*/3", day_of_week="mon-fri"),
            {"type": "crontab", "value": "0 6 * */3 mon-fri"},
        ),
        (60, {"type": "interval", "value": 1, "unit": "minute"}),
        (timedelta(minutes=90), {"type": "interval", "value": 90, "unit": "minute"}),
        (timedelta(hours=3), {"type": "interval", "value": 3, "unit": "hour"}),
        (timedelta(days=2), {"type": "interval", "value": 2, "unit": "day"}),
    ],
)
def test_a_rule_is_told_in_sentrys_words(given: Any, schedule: dict[str, Any]) -> None:
    assert monitor(given) == {"schedule": schedule, "timezone": "UTC", "max_runtime": 5 * 60}


def test_a_crontab_is_told_with_its_zone() -> None:
    assert monitor(crontab(minute="0", hour="6"), "Europe/Berlin")["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    "given",
    [
        1,
        90,
        3661.5,
        datetime(2026, 12, 1, tzinfo=UTC),
        crontab(minute="0", hour="6", day_of_month="13", day_of_week="fri"),  # Sentry would take either day.
    ],
    ids=str,
)
def test_what_sentry_can_not_keep_is_no_monitor(given: Any) -> None:
    assert monitor(given) is None


def test_a_schedule_that_ends_is_no_monitor_for_sentry_would_miss_it_ever_after() -> None:
    assert monitor(60, ends_at=datetime(2026, 12, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(("jitter_s", "margin_min"), [(1.0, 2), (60.0, 2), (61.0, 3), (3600.0, 61)])
def test_a_job_may_begin_as_late_as_the_jitter_has_it(jitter_s: float, margin_min: int) -> None:
    assert monitor(crontab(minute="0", hour="6"), jitter_s=jitter_s)["checkin_margin"] == margin_min


def test_a_jitter_of_months_is_no_monitor() -> None:
    assert monitor(crontab(minute="0", hour="6", day_of_month="1"), jitter_s=29 * 86400.0) is None


@pytest.mark.parametrize(("queue", "longest_min"), [(None, 5 * 60), ("default", 65)])
def test_a_run_may_take_as_long_as_the_lane_of_the_schedules_own_queue_allows(
    queue: str | None, longest_min: int
) -> None:
    assert monitor(60, queue=queue)["max_runtime"] == longest_min


def test_a_job_checks_out_though_the_ledger_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("sentry_sdk.crons.capture_checkin", lambda **facts: told.append(facts))
    monkeypatch.setattr(sentry, "_process", "worker")

    with pointed(ledger_url="sqlite:////no/such/folder/x.db"):
        monitors.ended(new_id(), "Nightly", State.QUEUED, 1.5)
        monitors.ended(new_id(), "Nightly", State.DEAD, 2.5)

    (closing,) = told
    assert (closing["monitor_slug"], closing["status"], closing["duration"]) == ("nightly", "error", 2.5)
