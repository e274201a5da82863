"""What is kept of finished jobs: by count, age and bytes; their keys and business marks outlive them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from celadon.ledger import alerts as alert_rows
from celadon.ledger import claims, marks, retention
from celadon.ledger.db import at, begin
from celadon.ledger.operating import cancel, replay
from celadon.ledger.tables import alerts, attempts, audit, jobs, keys, steps
from celadon.states import State
from tests.contract.given import (
    FAILURE,
    LEASE_S,
    NAME,
    a_claim,
    a_job,
    a_job_that_is,
    change,
    count,
    new_job,
    row,
    store,
)

pytestmark = pytest.mark.usefixtures("ledger")

AGES, ALWAYS = timedelta(days=7), timedelta(days=36500)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def finished(age_s: float = 0, size: int = 10, **facts: Any) -> str:
    """A job that succeeded so many seconds ago."""
    claim = a_claim(**facts)
    claims.finish(claim, None)
    change(claim.job_id, finished_at=at(-age_s), size=size)
    return claim.job_id


def left(*ids: str) -> list[str]:
    return [job_id for job_id in ids if count(jobs, jobs.c.id == job_id)]


def test_the_newest_are_kept_and_those_beyond_the_count_go():
    ids = [finished(age_s=age) for age in (50, 10, 40, 20, 30)]

    assert retention.prune(NAME, keep=2, keep_for=AGES) == 3

    assert left(*ids) == [ids[1], ids[3]]


def test_what_is_too_old_goes_however_few_there_are():
    young, old = finished(age_s=60), finished(age_s=3700)

    assert retention.prune(NAME, keep=100, keep_for=timedelta(hours=1)) == 1

    assert left(young, old) == [young]


def test_what_is_beyond_the_bytes_goes_oldest_first_but_the_newest_stays_always():
    ids = [finished(age_s=age, size=100) for age in (10, 20, 30, 40)]

    assert retention.prune(NAME, keep=100, keep_for=AGES, keep_bytes=250) == 2
    assert left(*ids) == ids[:2]

    assert retention.prune(NAME, keep=100, keep_for=AGES, keep_bytes=1) == 1
    assert left(*ids) == ids[:1]


def test_the_size_of_a_job_is_that_of_its_payload_and_result():
    claim = a_claim()

    claims.finish(claim, "x" * 98, 100)

    assert row(claim.job_id).size == 2 + 100


def test_each_name_has_a_keep_of_its_own():
    mine, others = finished(), finished(name="contract.other")

    retention.prune(NAME, keep=0, keep_for=AGES)

    assert left(mine, others) == [others]
    assert retention.names() == ["contract.other"]


def test_of_jobs_that_ended_at_one_moment_no_more_are_kept_than_the_count():
    ids = [finished() for _ in range(5)]
    with begin() as connection:
        connection.execute(update(jobs).values(finished_at=NOON))

    assert retention.prune(NAME, keep=2, keep_for=ALWAYS) == 3

    assert left(*ids) == ids[3:]


def test_the_rules_hold_together_and_count_no_job_twice():
    ids = [finished(age_s=age, size=100) for age in (10, 20, 30, 40, 5000)]

    # Too old is the last, beyond the count the last two, and over the bytes the third.
    assert retention.prune(NAME, keep=3, keep_for=timedelta(hours=1), keep_bytes=250) == 3

    assert left(*ids) == ids[:2]


def test_only_succeeded_and_cancelled_jobs_are_removed():
    ids = {state: a_job_that_is(state) for state in State}
    for job_id in ids.values():
        change(job_id, finished_at=at(-(10**7)))

    assert retention.prune(NAME, keep=0, keep_for=timedelta(0), keep_bytes=0) == 2

    assert set(ids.values()) - set(left(*ids.values())) == {ids[State.SUCCEEDED], ids[State.CANCELLED]}


def test_the_dead_go_by_a_rule_of_their_own_alone():
    old, young = a_job_that_is(State.DEAD), a_job_that_is(State.DEAD)
    change(old, finished_at=at(-7200))
    done = finished(age_s=7200)
    rule = {"keep": 100, "keep_for": AGES}

    assert retention.prune(NAME, **rule) == 0
    assert retention.prune(NAME, **rule, keep_dead_for=timedelta(hours=3)) == 0
    assert retention.prune(NAME, **rule, keep_dead_for=timedelta(hours=1)) == 1

    assert left(old, young, done) == [young, done]
    assert retention.names() == [NAME]


def test_a_dead_job_that_is_replayed_is_not_removed_however_late_it_was():
    dead = a_job_that_is(State.DEAD)
    change(dead, finished_at=at(-7200))
    replay(dead)

    assert retention.prune(NAME, keep=0, keep_for=AGES, keep_dead_for=timedelta(0)) == 0

    assert left(dead) == [dead]


def test_a_name_of_which_only_the_dead_are_left_is_still_looked_at():
    a_job_that_is(State.DEAD, "contract.dead")
    a_job_that_is(State.QUEUED)

    assert retention.names() == ["contract.dead"]


def test_what_operators_did_is_forgotten_after_a_while():
    for age_days in (100, 10):
        cancel(a_job())
        with begin() as connection:
            connection.execute(update(audit).where(audit.c.at > at(-60)).values(at=at(-age_days * 86400)))

    assert retention.forget_audit() == 1
    assert retention.forget_audit(days=5) == 1
    assert count(audit) == 0


def test_a_removed_job_takes_its_attempts_and_its_own_marks_along():
    claim = a_claim()
    marks.start(claim, "step", "key", LEASE_S)
    claims.finish(claim, None)
    assert (count(attempts), count(steps)) == (1, 1)

    retention.prune(NAME, keep=0, keep_for=AGES)

    assert (count(jobs), count(attempts), count(steps)) == (0, 0, 0)


def test_marks_under_a_business_key_outlive_the_job():
    claim = a_claim(scope="order:1")
    marks.start(claim, "step", "key", LEASE_S)
    claims.finish(claim, None)

    retention.prune(NAME, keep=0, keep_for=AGES)

    assert list(marks.step_views("order:1")) == ["step"]


def test_a_key_outlives_its_job_and_still_gives_its_id():
    claim = a_claim(key="k", payload_hash="h")
    claims.finish(claim, None)

    retention.prune(NAME, keep=0, keep_for=AGES)

    assert count(keys) == 1
    assert store(new_job(key="k", payload_hash="h")) == (claim.job_id, State.SUCCEEDED, False)
    assert count(jobs) == 0


def test_a_key_whose_time_is_over_is_forgotten_and_no_other():
    for age_s, key in ((1, "old"), (-60, "young")):
        a_job(key=key, payload_hash="h")
        with begin() as connection:
            connection.execute(update(keys).where(keys.c.key == key).values(expires_at=at(-age_s)))

    assert retention.forget_keys() == 1
    assert count(keys) == count(keys, keys.c.key == "young") == 1


def test_an_alert_that_was_not_sent_yet_outlives_its_job():
    for sent in (True, False):
        claim = a_claim()
        claims.fail(claim, FAILURE, retry_in_s=0, alert_after=1)
        if sent:
            alert_rows.mark_sent(alert_rows.unsent()[0].id)
        change(claim.job_id, state=State.SUCCEEDED, finished_at=at())

    retention.prune(NAME, keep=0, keep_for=AGES)

    assert count(alerts) == count(alerts, alerts.c.sent_at.is_(None)) == 1


def test_a_large_leftover_is_removed_in_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        finished()
    a_job()

    removed = [retention.prune(NAME, keep=0, keep_for=AGES) for _ in range(4)]

    assert removed == [2, 2, 1, 0]
    assert count(jobs) == 1
