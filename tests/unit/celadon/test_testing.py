"""`celadon.testing`: what users' tests stand on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import crontab
from sqlalchemy import func, make_url, select, text
from sqlalchemy.orm import Session

import celeryconfig
from celadon import (
    Permanent,
    Receipt,
    State,
    Steps,
    Submission,
    cancel,
    find,
    job,
    outlook,
    schedules,
    submit,
    submit_many,
)
from celadon.errors import CeladonError, InvalidPayload, UnknownJob
from celadon.ledger import db, limits, session, switches
from celadon.ledger.db import begin
from celadon.ledger.tables import jobs
from celadon.limits import Limit
from celadon.run import Ran
from celadon.settings import settings
from celadon.testing import Sandbox, clock, sandbox, template
from celadon.testing.plugin import celadon_sandbox
from tests.contract.given import count

__all__ = ["celadon_sandbox"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOG: list[str] = []


@job("sandboxed.greet", queue="default")
def greet(name: str, punctuation: str = "!") -> str:
    return f"Hello, {name}{punctuation}"


@job("sandboxed.report", queue="data_sync")
def report(year: int) -> int:
    return year


@job("sandboxed.quote", queue="default", fallback="refuse", confirm=True)
def quote(sku: str) -> str:
    return sku


@job("sandboxed.flaky", queue="default", attempts=3, backoff=HOUR)
def flaky(fails: int) -> str:
    LOG.append("tried")
    if len(LOG) <= fails:
        raise ConnectionError(f"failure {len(LOG)}")
    return "at last"


@job("sandboxed.eager", queue="default", attempts=3, backoff=timedelta(0))
def eager() -> None:
    LOG.append("tried")
    raise Permanent("no use") if len(LOG) > 1 else ConnectionError("once more")


def note(own: Session, what: str) -> str:
    LOG.append(what)
    return what


@job("sandboxed.trial", queue="default")
def trial(steps: Steps) -> str:
    steps.run("welcome", note, "welcomed")
    steps.sleep("two weeks", 14 * 86_400)
    return str(steps.run("remind", note, "reminded"))


@job("sandboxed.chain", queue="default")
def chain(left: int) -> int:
    if left:
        submit("sandboxed.chain", {"left": left - 1})
    return left


@job("sandboxed.endless", queue="default")
def endless() -> None:
    submit("sandboxed.endless", {})


@job("sandboxed.cancel", queue="default")
def cancel_it(job_id: str) -> None:
    cancel(job_id)


@job("sandboxed.tick", queue="default")
def tick() -> str:
    return "tock"


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


@pytest.fixture
def box(celadon_sandbox: Sandbox) -> Sandbox:
    return celadon_sandbox


def states(box: Sandbox) -> list[State]:
    return [one.state for one in box.submitted()]


# --- submitting and running


def test_a_job_waits_until_it_is_asked_to_run(box):
    receipt = submit("sandboxed.greet", {"name": "Ada"})
    assert (receipt.outcome, states(box)) == ("queued", ["queued"])

    [view] = box.run_due()

    assert (view.id, view.state, view.result) == (receipt.job_id, "succeeded", "Hello, Ada!")
    assert box.run_due() == []


@pytest.mark.parametrize(
    ("name", "payload"), [("sandboxed.report", {"year": 2026}), ("sandboxed.quote", {"sku": "BOWL"})]
)
def test_lanes_and_fallbacks_make_no_difference_for_there_is_a_worker(box, name, payload):
    assert submit(name, payload).outcome == "queued"
    assert [view.state for view in box.run_due()] == ["succeeded"]


def test_jobs_may_run_before_submit_returns():
    with sandbox(at_once=True):
        receipt = submit("sandboxed.chain", {"left": 2})
        view = find(receipt.job_id)

        assert (receipt.outcome, receipt.by, view and view.result) == ("picked_up", "sandbox", 2)
        assert count(jobs, jobs.c.state == "succeeded") == 3

        assert submit("sandboxed.greet", {"name": "Ada"}, delay=60).outcome == "scheduled"


@pytest.mark.parametrize("at_once", [False, True])
def test_a_job_that_joins_a_transaction_is_there_after_its_commit(at_once):
    with sandbox(at_once=at_once) as box:
        with session() as own:
            receipt = submit("sandboxed.greet", {"name": "Ada"}, session=own)
            assert (receipt.outcome, box.submitted()) == ("pending", [])
            own.commit()

        assert (receipt.outcome, states(box)) == (("picked_up", ["succeeded"]) if at_once else ("queued", ["queued"]))


@pytest.mark.parametrize(("at_once", "outcome"), [(False, "queued"), (True, "picked_up")])
def test_jobs_that_are_submitted_together_are_no_different(at_once, outcome):
    with sandbox(at_once=at_once) as box:
        greeting = Submission(name="sandboxed.greet", payload={"name": "Ada"}, key="once")
        quoting = Submission(name="sandboxed.quote", payload={"sku": "BOWL"})

        receipts = submit_many([greeting, quoting, greeting])

        assert [one.outcome for one in receipts if isinstance(one, Receipt)] == [outcome, outcome, "duplicate"]
        assert len(box.run_due()) == (0 if at_once else 2)
        assert states(box) == ["succeeded", "succeeded"]


def test_what_jobs_submit_is_run_too(box):
    submit("sandboxed.chain", {"left": 3})

    assert [view.result for view in box.run_due()] == [3, 2, 1, 0]


def test_a_job_that_another_one_cancelled_has_not_run(box):
    submit("sandboxed.cancel", {"job_id": (other := submit("sandboxed.greet", {"name": "Ada"}).job_id)}, priority=9)

    assert [view.name for view in box.run_due()] == ["sandboxed.cancel"]
    assert find(other).state == "cancelled"


def test_a_job_in_quarantine_is_run_too(box):
    submit("sandboxed.greet", {"name": "Ada"})
    with begin() as connection:
        connection.execute(jobs.update().values(crashes=1, quarantine=True))

    assert [view.state for view in box.run_due()] == ["succeeded"]


def test_as_many_jobs_as_may_be_submitted_together_are_run(box, monkeypatch):
    ran = []
    monkeypatch.setattr(box, "_run", lambda job_id: ran.append(job_id) or Ran())
    due = [[str(number) for number in range(1000)]] * 2
    monkeypatch.setattr(box, "_due", lambda: due.pop() if due else [])

    box.run_due()

    assert len(ran) == 2000


def test_jobs_without_an_end_are_told_instead_of_run_for_ever(box, monkeypatch):
    monkeypatch.setattr("celadon.testing.box.MOST_RUNS", 20)
    submit("sandboxed.endless", {})

    with pytest.raises(AssertionError, match="20 runs, and jobs are still due, 'sandboxed.endless' among them"):
        box.run_due()


def test_a_job_that_an_operator_holds_is_held_here_too(box):
    switches.pause("queue", "default")

    assert submit("sandboxed.greet", {"name": "Ada"}).outcome == "waiting"
    assert box.run_due() == []
    switches.resume("queue", "default")
    assert [view.state for view in box.run_due()] == ["succeeded"]


def test_a_limited_job_waits_for_its_window_here_too_and_time_opens_it(box):
    limits.set_limits("job", "sandboxed.greet", [Limit(starts=1, per_s=60)], actor="test")
    first, second = (submit("sandboxed.greet", {"name": name}) for name in ("Ada", "Bob"))

    assert (first.outcome, second.outcome) == ("queued", "waiting")
    assert [view.id for view in box.run_due()] == [first.job_id]
    box.advance(timedelta(seconds=60))
    assert box.run_due() == []
    box.advance(timedelta(seconds=3))
    assert [view.id for view in box.run_due()] == [second.job_id]


# --- failing


def test_a_failed_job_shows_its_error_and_waits_for_its_next_try(box):
    submit("sandboxed.flaky", {"fails": 1})

    [failed] = box.run_due()

    assert (failed.state, failed.attempt) == ("scheduled", 1)
    assert failed.error is not None
    assert (failed.error["kind"], failed.error["message"]) == ("ConnectionError", "failure 1")
    assert box.run_due() == []


def test_retries_come_as_time_passes_until_none_is_left(box):
    submit("sandboxed.flaky", {"fails": 9})
    ended = []
    for _ in range(3):
        ended += box.run_due()
        box.advance(3 * HOUR)

    assert [(view.state, view.attempt) for view in ended] == [("scheduled", 1), ("scheduled", 2), ("dead", 3)]
    assert box.run_due() == []


def test_a_retry_that_is_due_at_once_is_run_in_the_same_go(box):
    submit("sandboxed.eager", {})

    [view] = box.run_due()

    assert (view.state, len(view.attempts), LOG) == ("dead", 2, ["tried", "tried"])


def test_what_a_job_raised_can_be_raised_again(box):
    submit("sandboxed.flaky", {"fails": 1})

    with pytest.raises(ConnectionError, match="failure 1") as raised:
        box.run_due(raises=True)

    assert raised.traceback[-1].name == "flaky"
    assert states(box) == ["scheduled"]


# --- time


def test_a_delayed_job_is_due_when_enough_time_has_passed(box):
    submit("sandboxed.greet", {"name": "Ada"}, delay=DAY)
    box.advance(DAY - HOUR)
    assert box.run_due() == []

    box.advance(HOUR)

    assert [view.result for view in box.run_due()] == ["Hello, Ada!"]


def test_a_sleeping_job_goes_on_when_its_time_has_passed(box):
    submit("sandboxed.trial", {})
    [asleep] = box.run_due()
    assert (asleep.state, asleep.attempt, LOG) == ("scheduled", 0, ["welcomed"])

    box.advance(timedelta(days=14))
    [view] = box.run_due()

    assert (view.state, view.result, LOG) == ("succeeded", "reminded", ["welcomed", "reminded"])


def test_a_job_that_was_not_run_in_time_expires(box):
    submit("sandboxed.greet", {"name": "Ada"}, expires_in=HOUR)
    box.advance(2 * HOUR)

    assert (box.run_due(), states(box)) == ([], ["cancelled"])


def test_a_key_is_forgotten_after_its_days(box):
    assert submit("sandboxed.greet", {"name": "Ada"}, key="k").outcome == "queued"
    assert submit("sandboxed.greet", {"name": "Ada"}, key="k").outcome == "duplicate"

    box.advance(timedelta(days=8))

    assert submit("sandboxed.greet", {"name": "Ada"}, key="k").outcome == "queued"


def test_every_time_in_the_ledger_moves_and_by_the_same_span(box):
    receipt = submit("sandboxed.greet", {"name": "Ada"}, run_at=datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC))
    before = find(receipt.job_id)
    assert before is not None
    box.advance(timedelta(days=366, milliseconds=1500))
    after = find(receipt.job_id)
    assert after is not None

    assert after.run_at == datetime(2098, 12, 30, 23, 59, 57, 500_000, tzinfo=UTC)
    assert before.created_at - after.created_at == timedelta(days=366, milliseconds=1500)
    assert clock.advance(timedelta(microseconds=1600)) == timedelta(milliseconds=2)


def test_time_only_goes_forward(box):
    with pytest.raises(ValueError, match="time only goes forward"):
        box.advance(-HOUR)


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(celeryconfig, "beat_schedule", {"tick": {"task": "sandboxed.tick", "schedule": 60.0}})
    with sandbox(schedules=True) as box:
        yield box


def test_a_schedule_fires_once_each_time_that_it_is_due(scheduled):
    scheduled.run_due()
    before = len(scheduled.submitted())  # A minute may have begun meanwhile.
    results = []
    for _ in range(3):
        scheduled.advance(timedelta(minutes=1))
        results += [view.result for view in scheduled.run_due()]

    assert results == ["tock"] * 3
    assert len(scheduled.submitted("sandboxed.tick")) == before + 3


SOON = datetime.now(UTC) + timedelta(hours=12)  # Far from now, so that no test is at the moment of firing.


@pytest.mark.parametrize(
    ("rule", "span", "times", "fired"),
    [
        pytest.param(crontab(minute=str(SOON.minute), hour=str(SOON.hour)), 3 * HOUR, 24, 3, id="daily"),
        pytest.param(
            crontab(minute="0", hour="0", day_of_week=str((SOON + 3 * DAY).isoweekday() % 7)), DAY, 28, 4, id="weekly"
        ),
        pytest.param(timedelta(hours=5), HOUR, 25, 5, id="every five hours"),
        pytest.param(timedelta(minutes=1), timedelta(seconds=90.0004), 9, 9, id="its latest time once"),
    ],
)
def test_schedules_are_kept_by_the_time_that_has_passed(monkeypatch, rule, span, times, fired):
    monkeypatch.setattr(celeryconfig, "beat_schedule", {"tick": {"task": "sandboxed.tick", "schedule": rule}})
    with sandbox(schedules=True) as box:
        for _ in range(times):
            box.advance(span)
            box.run_due()

        assert len(box.submitted()) == fired


def test_a_long_time_without_a_look_fires_the_latest_time_and_no_other(monkeypatch):
    rule = crontab(minute=str(SOON.minute), hour=str(SOON.hour))
    monkeypatch.setattr(celeryconfig, "beat_schedule", {"tick": {"task": "sandboxed.tick", "schedule": rule}})
    with sandbox(schedules=True) as box:
        box.advance(3 * HOUR)
        box.advance(10 * DAY)
        box.run_due()
        with begin() as connection:
            [due] = connection.execute(select(jobs.c.due)).scalars()

    assert due + 10 * DAY + 3 * HOUR == SOON.replace(second=0, microsecond=0) + 9 * DAY


@pytest.mark.parametrize("when", [{"every": 300}, {"crontab": "*/5 * * * *", "timezone": "Asia/Tokyo"}], ids=str)
def test_schedules_that_are_made_turned_and_foreseen_in_a_test_go_by_its_clock(monkeypatch, when):
    monkeypatch.setattr(celeryconfig, "beat_schedule", {})
    with sandbox(schedules=True) as box:
        box.advance(2 * DAY + timedelta(seconds=17))
        schedules.add("tick", "sandboxed.tick", **when)
        first = schedules.preview("tick", 1)[0]
        box.advance(timedelta(minutes=5))
        assert len(box.run_due()) == 1
        assert schedules.find("tick").next_due in (first, first + timedelta(minutes=5)), "the ledger has grown older"

        schedules.pause("tick")
        box.advance(HOUR)
        schedules.resume("tick")
        assert box.run_due() == []
        box.advance(timedelta(minutes=5))
        assert len(box.run_due()) == 1


def test_what_comes_once_comes_when_so_much_time_has_passed(monkeypatch):
    monkeypatch.setattr(celeryconfig, "beat_schedule", {})
    with sandbox(schedules=True) as box:
        schedules.add("once", "sandboxed.tick", at=datetime.now(UTC) + HOUR)
        box.advance(timedelta(minutes=59))
        assert box.run_due() == []
        box.advance(timedelta(minutes=2))
        assert len(box.run_due()) == 1
        assert schedules.find("once").status == "ended"


def test_times_in_a_call_are_those_of_the_clock_that_does_not_move(monkeypatch):
    monkeypatch.setattr(celeryconfig, "beat_schedule", {})
    with sandbox(schedules=True) as box:
        box.advance(timedelta(minutes=95))
        schedules.add("once", "sandboxed.tick", at=datetime.now(UTC) + HOUR)
        schedules.add("often", "sandboxed.tick", every=86400, starts_at=datetime.now(UTC) + HOUR)
        once = schedules.find("once").next_due
        assert once is not None
        assert abs(once - datetime.now(UTC) - HOUR) < timedelta(minutes=5)
        schedules.edit("once", at=datetime.now(UTC) + HOUR)
        box.advance(timedelta(minutes=59))
        assert box.run_due() == []
        box.advance(timedelta(minutes=2))
        assert len(box.run_due()) == 1


def test_rows_of_one_schedule_do_not_meet_on_their_way(scheduled):
    for _ in range(2):
        scheduled.advance(timedelta(minutes=1))
        scheduled.run_due()
    first, second, *_ = [one.job_id for one in scheduled.submitted()]
    with begin() as connection:  # The other way round than they are stored.
        last = connection.execute(select(func.max(jobs.c.due))).scalar_one()
        for job_id, due in ((first, last + timedelta(minutes=1)), (second, last + timedelta(minutes=2))):
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(due=due))
        connection.execute(jobs.update().where(jobs.c.id == first).values(due=last + timedelta(minutes=3)))

    scheduled.advance(timedelta(minutes=1))

    assert len(scheduled.submitted()) >= 2


def test_schedules_keep_still_unless_asked_for(box):
    box.advance(timedelta(days=400))

    assert (box.run_due(), box.submitted()) == ([], [])


# --- what was submitted


def test_submissions_are_told_in_order_with_all_that_was_said(box):
    submit("sandboxed.greet", {"name": "Ada"}, key="ada", queue="data_sync", priority=3, tenant="acme")
    submit("sandboxed.report", {"year": 2026}, run_at=datetime(2030, 1, 1, tzinfo=UTC))

    first, second = box.submitted()

    assert (first.name, first.payload) == ("sandboxed.greet", {"name": "Ada", "punctuation": "!"})
    assert (first.key, first.queue, first.priority, first.tenant) == ("ada", "data_sync", 3, "acme")
    assert (first.run_at, second.run_at) == (None, datetime(2030, 1, 1, tzinfo=UTC))
    assert [one.job_id for one in box.submitted("sandboxed.report")] == [second.job_id]


def test_what_was_submitted_can_be_asserted(box):
    submit("sandboxed.greet", {"name": "Ada"}, tenant="acme")
    receipt = submit("sandboxed.greet", {"name": "Grace"}, key="g")

    assert box.assert_submitted("sandboxed.greet", payload={"name": "Grace"}, key="g").job_id == receipt.job_id
    assert box.assert_submitted("sandboxed.greet").tenant == "acme"


@pytest.mark.parametrize(
    "facts",
    [{"payload": {"name": "Linus"}}, {"key": "h"}, {"queue": "data_sync"}, {"priority": 1}, {"tenant": "acme"}],
)
def test_the_failure_tells_what_was_submitted_instead(box, facts):
    submit("sandboxed.greet", {"name": "Grace"}, key="g")

    with pytest.raises(AssertionError) as failure:
        box.assert_submitted("sandboxed.greet", **facts)

    asked, told = str(failure.value).splitlines()
    assert asked.startswith("sandboxed.greet ")
    assert asked.endswith(" was not submitted. Submitted was:")
    assert told == "  sandboxed.greet {'name': 'Grace', 'punctuation': '!'} on 'default' key=g, queued"


def test_the_failure_says_when_nothing_was_submitted(box):
    with pytest.raises(AssertionError, match=r"sandboxed.greet was not submitted. Submitted was: nothing"):
        box.assert_submitted("sandboxed.greet")


def test_a_job_or_a_field_that_there_can_not_be_is_an_error_of_its_own(box):
    with pytest.raises(UnknownJob, match="did you mean 'sandboxed.greet'"):
        box.assert_submitted("sandboxed.great")
    with pytest.raises(InvalidPayload, match="nmae"):
        box.assert_submitted("sandboxed.greet", payload={"nmae": "Ada"})


# --- a world of its own


def test_the_settings_and_the_ledger_are_as_before_afterwards():
    before = settings()
    with sandbox() as outer:
        inside = settings()
        submit("sandboxed.greet", {"name": "Ada"})
    with sandbox() as another:
        assert another.submitted() == []

    assert settings() == before != inside
    assert inside.ledger_url == outer.ledger_url != another.ledger_url
    assert not os.path.exists(outer.ledger_url.removeprefix("sqlite:///"))


def test_one_that_is_left_by_an_error_is_left_all_the_same():
    before = settings()
    with pytest.raises(KeyError), sandbox():
        raise KeyError
    with sandbox():
        pass

    assert settings() == before


@pytest.mark.parametrize("broken", ["hurry", "fresh"])
def test_one_that_can_not_be_opened_leaves_the_process_as_it_was(monkeypatch, broken):
    def fail(*_: Any) -> None:
        db.engine()
        raise OSError("no room")

    monkeypatch.setattr(template, broken, fail)
    before = settings().ledger_url
    with pytest.raises(OSError, match="no room"), sandbox():
        pass
    monkeypatch.undo()

    assert db.engine().url == make_url(before) == make_url(settings().ledger_url)
    with sandbox() as box:
        assert box.submitted() == []


@pytest.mark.parametrize("error", [None, KeyError])
def test_nothing_is_remembered_of_it(ledger, error):
    assert not outlook.switched_off("default", "sandboxed.greet")
    with contextlib.suppress(KeyError), sandbox():
        switches.turn("queue", "default", use_broker=False)
        assert outlook.switched_off("default", "sandboxed.greet")
        if error:
            raise error

    assert db.engine().url == make_url(settings().ledger_url)
    assert not outlook.switched_off("default", "sandboxed.greet")


def test_a_second_one_inside_is_refused(box):
    with pytest.raises(CeladonError, match="A sandbox is open already"), sandbox():
        pass

    assert submit("sandboxed.greet", {"name": "Ada"}).outcome == "queued"


def test_it_has_the_tables_of_the_application(box):
    with session(read_only=True) as own:
        assert own.execute(text("SELECT count(*) FROM products")).scalar_one() > 0


def test_the_migrations_run_once_for_all(box, monkeypatch):
    def never(_: Any) -> None:
        pytest.fail("migrated again")

    monkeypatch.setattr(template, "migrate", never)
    assert "ledger.db" in box.ledger_url
    assert template._migrated() is template._migrated()


def test_what_can_not_be_run_by_this_process_is_left_alone(box):
    receipt = submit("sandboxed.greet", {"name": "Ada"})
    with begin() as connection:
        connection.execute(jobs.update().values(name="somebody.elses"))

    assert box.run_due() == []
    assert find(receipt.job_id).state == "queued"
