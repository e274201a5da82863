"""What `celeryconfig.beat_schedule` may say, and how it becomes rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import crontab
from sqlalchemy import select

from celadon import beat, queues
from celadon.errors import CeladonError, InvalidPayload, UnknownJob, UnknownQueue
from celadon.ledger.db import clock, reading
from celadon.ledger.tables import schedules as table
from tests.contract.given import count

pytestmark = pytest.mark.usefixtures("ledger")

JOB = {"task": "unit.deferred"}


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the operator's file say this about schedules."""

    def say(**entries: Any) -> None:
        monkeypatch.setattr(queues.operators_file(), "beat_schedule", entries)

    return say


def rows() -> dict[str, Any]:
    with reading() as connection:
        return {row.name: row for row in connection.execute(select(table))}


def test_the_configured_schedules_become_rows(declare):
    declare(
        hourly={**JOB, "schedule": crontab(minute="17"), "kwargs": {"word": "w"}},
        often={**JOB, "schedule": 60, "options": {"queue": "default"}},
        once={**JOB, "schedule": datetime(2199, 1, 1, tzinfo=UTC)},
    )

    beat.sync()

    made = rows()
    with reading() as connection:
        now = clock(connection)
    assert made["hourly"].payload == {"word": "w"}
    assert made["hourly"].next_due.minute == 17
    assert made["often"].queue == "default"
    assert now < made["often"].next_due <= now + timedelta(seconds=60)
    assert made["once"].next_due == datetime(2199, 1, 1, tzinfo=UTC)


def test_the_platforms_own_keys_stand_beside_celerys(declare):
    declare(
        nightly={
            **JOB,
            "schedule": crontab(minute="30", hour="2"),
            "timezone": "Europe/Berlin",
            "missed": "all",
            "missed_max": 3,
            "overlap": "queue",
            "jitter_s": 90,
            "starts_at": datetime(2199, 1, 1, tzinfo=UTC),
            "ends_at": datetime(2199, 12, 31, tzinfo=UTC),
        }
    )

    beat.sync()

    row = rows()["nightly"]
    assert row.spec["timezone"] == "Europe/Berlin"
    assert (row.missed, row.missed_max, row.overlap, row.jitter_s) == ("all", 3, "queue", 90.0)
    assert row.next_due == datetime(2199, 1, 1, 1, 30, tzinfo=UTC)


def test_a_crontab_without_a_zone_goes_by_celerys_own_setting(declare, monkeypatch):
    declare(nightly={**JOB, "schedule": crontab(minute="30", hour="2")})
    monkeypatch.setattr(queues.operators_file(), "timezone", "Asia/Tokyo", raising=False)

    beat.sync()

    assert rows()["nightly"].next_due.hour == 17


def test_a_time_of_the_configuration_that_has_passed_is_no_error_but_a_schedule_that_has_ended(declare):
    declare(once={**JOB, "schedule": datetime(2020, 1, 1, tzinfo=UTC)})

    beat.sync()

    assert rows()["once"].next_due is None


@pytest.mark.parametrize(
    ("entry", "error", "told"),
    [
        ({"task": "unit.defered", "schedule": 60}, UnknownJob, "did you mean 'unit.deferred'"),
        ({**JOB, "schedule": 60, "args": ("w",)}, CeladonError, "as kwargs, not as args"),
        ({**JOB, "schedule": 60, "kwargs": {"x": 1}}, InvalidPayload, "x: Extra inputs"),
        ({**JOB, "schedule": 60, "options": {"queue": "no"}}, UnknownQueue, "No lane works the queue 'no'"),
        (
            {**JOB, "schedule": 60, "options": {"expires": 9, "queue": "default"}},
            CeladonError,
            "only queue.*not expires",
        ),
        ({**JOB, "schedule": "hourly"}, CeladonError, r"beat_schedule\['bad'\]: 'hourly' is no crontab"),
        ({**JOB, "schedule": 60, "relative": True}, CeladonError, r"beat_schedule\['bad'\]: 'relative' can't be kept"),
        (
            {**JOB, "schedule": 60, "jiter_s": 5, "mised": 1},
            CeladonError,
            "'jiter_s', 'mised' can't be kept; there are: ",
        ),
        ({**JOB}, CeladonError, "schedule must be given"),
        ({**JOB, "schedule": crontab(), "timezone": "Europe/Berln"}, CeladonError, "did you mean 'Europe/Berlin'"),
        (
            {**JOB, "schedule": 60, "timezone": "Europe/Berlin"},
            CeladonError,
            "timezone='Europe/Berlin' is for a crontab",
        ),
        ({**JOB, "schedule": 60, "missed": "never"}, CeladonError, "missed='never': one of skip, latest, all"),
        ({**JOB, "schedule": 60, "overlap": "no"}, CeladonError, "overlap='no': one of allow, skip, queue, replace"),
        ({**JOB, "schedule": 60, "jitter_s": -1}, CeladonError, "jitter_s=-1"),
    ],
)
def test_an_entry_that_can_not_be_is_refused_and_changes_nothing(declare, entry, error, told):
    declare(good={**JOB, "schedule": 60})
    beat.sync()
    declare(bad=entry)

    with pytest.raises(error, match=told):
        beat.sync()

    assert count(table, table.c.name == "good") == count(table) == 1
