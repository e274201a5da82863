"""Alerts: a row for each cause, once; sending is reserved, so that two schedulers do not send one twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from celadon.ledger import alerts as rows
from celadon.ledger import claims
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import alerts
from celadon.states import State
from tests.contract.given import FAILURE, a_claim, a_job, change, count, race

pytestmark = pytest.mark.usefixtures("ledger")


def fail(job_id: str, *, times: int, alert_after: int = 3, dies: bool = False) -> None:
    """Let it fail so often; with `dies` the last failure is for good."""
    for left in reversed(range(times)):
        change(job_id, state=State.QUEUED)
        retry_in_s = None if dies and not left else 0.0
        claims.fail(a_claim(job_id), FAILURE, retry_in_s=retry_in_s, alert_after=alert_after)


def kinds(job_id: str) -> list[str]:
    with reading() as connection:
        return list(
            connection.execute(
                select(alerts.c.kind).where(alerts.c.job_id == job_id).order_by(alerts.c.created_at)
            ).scalars()
        )


def test_a_job_that_fails_less_often_alarms_nobody():
    job_id = a_job()

    fail(job_id, times=2)

    assert kinds(job_id) == []


def test_a_job_alarms_once_at_so_many_failures_and_once_at_death():
    job_id = a_job()

    fail(job_id, times=6, dies=True)

    assert kinds(job_id) == ["failing", "dead"]


def test_a_job_that_dies_at_the_very_failure_that_would_alarm_alarms_once():
    job_id = a_job()

    fail(job_id, times=3, dies=True)

    assert kinds(job_id) == ["dead"]


def test_a_job_that_is_cancelled_at_that_failure_does_not_say_that_it_will_be_tried_again():
    claim = a_claim()
    change(claim.job_id, cancel_requested=True)

    assert claims.fail(claim, FAILURE, retry_in_s=0.0, alert_after=1) == State.CANCELLED

    assert kinds(claim.job_id) == []


def test_an_alert_says_what_happened_why_and_what_can_be_done():
    job_id = a_job()

    fail(job_id, times=1, dies=True)

    alert = rows.unsent()[0]
    assert alert.subject == "contract.job is dead after 1 failed attempts"
    assert "ValueError: no" in alert.body
    assert f"celadon replay {job_id}" in alert.body


def test_a_backlog_is_told_once_an_hour_however_many_schedulers_see_it():
    race(4, lambda number: rows.write_backlog_alert(7, 90.0 + number, "connection refused"))

    (alert,) = rows.unsent()
    assert alert.kind == "backlog"
    assert alert.subject.startswith("7 jobs are queued, the oldest for 9")
    assert "connection refused" in alert.body

    an_hour_later = clock_of_the_ledger() + timedelta(hours=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "clock", lambda _: an_hour_later)
        rows.write_backlog_alert(8, 3690.0, "connection refused")
    assert count(alerts) == 2


def clock_of_the_ledger() -> datetime:
    with reading() as connection:
        return clock(connection)


def test_an_alert_is_reserved_by_one_of_several_schedulers():
    fail(a_job(), times=1, alert_after=1)
    alert = rows.unsent()[0]

    assert race(4, lambda _: rows.take(alert.id, for_s=30)).count(True) == 1
    assert rows.unsent() == []


def test_a_reserved_alert_that_nobody_sent_is_offered_again():
    fail(a_job(), times=1, alert_after=1)
    alert = rows.unsent()[0]
    rows.take(alert.id, for_s=30)
    with begin() as connection:
        connection.execute(update(alerts).values(try_after=at(-1)))

    assert [one.id for one in rows.unsent()] == [alert.id]
    assert rows.unsent()[0].tries == 1


def test_a_failed_sending_is_tried_again_later_and_a_good_one_never():
    fail(a_job(), times=1, alert_after=1)
    alert = rows.unsent()[0]

    rows.mark_failed(alert.id, "451 try later", again_in_s=0.0)
    assert rows.unsent()[0].error == "451 try later"

    rows.mark_failed(alert.id, "451 try later", again_in_s=60.0)
    assert rows.unsent() == []

    rows.mark_sent(alert.id)
    with begin() as connection:
        connection.execute(update(alerts).values(try_after=at(-1)))
    assert rows.unsent() == []
    assert count(alerts, alerts.c.error.is_(None), alerts.c.sent_at.is_not(None)) == 1


def test_an_alert_that_nobody_is_to_get_is_done_with_a_note_of_why():
    fail(a_job(), times=1, alert_after=1)

    rows.mark_sent(rows.unsent()[0].id, note="nobody to tell")

    assert rows.unsent() == []
    assert count(alerts, alerts.c.error == "nobody to tell") == 1
