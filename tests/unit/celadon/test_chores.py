"""The scheduler's chores: the reaper's judgement of gaps, pruning, unparking, alerts by mail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from threading import Event, current_thread

import pytest
from sqlalchemy import event, select, update

from celadon import chores, registry
from celadon.alerts import send_due
from celadon.chores import Chores, Reaper
from celadon.errors import LedgerUnavailable
from celadon.ledger import ahead, claims, moving, presence, retention
from celadon.ledger.db import at, begin, engine, reading
from celadon.ledger.presence import Worker
from celadon.ledger.tables import alerts, attempts, jobs
from celadon.sender import Sender
from celadon.states import Outcome, State
from tests.contract.given import FAILURE, a_claim, a_job, change, count, let_its_lease_run_out, row
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import MailSink

pytestmark = pytest.mark.usefixtures("ledger")

LEASE_S = 10.0  # LEASE_S's default.


class Clock:
    """The process's own clock, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(chores, "time", made)
    return made


def a_lost_lease() -> str:
    job_id = a_claim().job_id
    let_its_lease_run_out(job_id)
    return job_id


def outcome(job_id: str) -> str:
    with reading() as connection:
        return str(connection.execute(select(attempts.c.outcome).where(attempts.c.job_id == job_id)).scalar_one())


def let_the_amnesty_be_over(reaper: Reaper) -> None:
    assert reaper._amnesty_until is not None
    reaper._amnesty_until -= timedelta(hours=1)


def test_a_reaper_that_has_just_begun_waits_one_lease_before_it_judges(clock):
    reaper, job_id = Reaper(), a_lost_lease()

    assert reaper.tick() == 0
    for _ in range(9):
        clock.now += 1
        assert reaper.tick() == 0
    assert row(job_id).state == State.RUNNING

    clock.now += 1
    assert reaper.tick() == 1


def test_what_was_lost_before_it_could_see_is_nobodys_crash(clock):
    reaper, job_id = Reaper(), a_lost_lease()
    reaper.tick()
    for _ in range(5):
        clock.now += LEASE_S / 2 - 0.1
        reaper.tick()

    assert outcome(job_id) == Outcome.LOST
    assert row(job_id).quarantine is False


def ready(clock: Clock) -> Reaper:
    """A reaper that has ticked without a gap for so long that it judges."""
    reaper = Reaper()
    for _ in range(12):
        reaper.tick()
        clock.now += 1
    let_the_amnesty_be_over(reaper)
    return reaper


def test_without_a_gap_a_lost_lease_is_a_crash_at_once(clock):
    reaper, job_id = ready(clock), a_lost_lease()

    assert reaper.tick() == 1
    assert outcome(job_id) == Outcome.CRASHED


def test_after_a_gap_of_its_own_it_waits_one_lease_so_that_the_living_can_renew(clock):
    reaper, job_id = ready(clock), a_lost_lease()

    clock.now += LEASE_S / 2 + 0.1
    assert reaper.tick() == 0
    clock.now += LEASE_S / 2 - 0.1
    assert reaper.tick() == 0
    change(job_id, lease_until=at(60))

    clock.now += LEASE_S / 2
    assert reaper.tick() == 0
    assert row(job_id).state == State.RUNNING


def test_a_tick_that_the_ledger_refused_is_no_good_tick(clock, ledger):
    reaper, job_id = ready(clock), a_lost_lease()

    with pointed(ledger_url="sqlite:////no/such/folder/x.db"):
        for _ in range(6):
            clock.now += 1
            with pytest.raises(LedgerUnavailable):
                reaper.tick()
    clock.now += 1

    assert reaper.tick() == 0
    assert row(job_id).state == State.RUNNING


def test_silent_workers_alone_never_pause_it(clock):
    reaper = ready(clock)
    reaper.tick()
    for _ in range(5):
        job_id = a_lost_lease()
        clock.now += LEASE_S / 2 - 0.1
        assert reaper.tick() == 1
        assert outcome(job_id) == Outcome.CRASHED


@pytest.fixture
def all_chores() -> Iterator[Chores]:
    """All chores, with a sender that is never started; none goes on into the next test."""
    made = Chores(Sender())
    yield made
    eventually("the chores aside are over", lambda: not any(one.locked() for one in made._aside.values()))


def test_parked_jobs_go_on_when_a_worker_that_knows_them_is_alive(all_chores):
    job_id = a_job(name="unit.inline")
    moving.park(job_id)
    all_chores.tick()
    assert row(job_id).state == State.PARKED

    presence.appear(
        Worker(id="w", host="h", pid=1, lane="default", queues=("default",), tasks=("unit.inline",), concurrency=1)
    )
    all_chores._due.clear()
    all_chores.tick()
    assert row(job_id).state == State.QUEUED


def test_finished_jobs_are_pruned_as_declared_and_of_undeclared_names_by_the_default(all_chores):
    old, young, unknown = a_claim(name="unit.inline"), a_claim(name="unit.inline"), a_claim(name="gone.job")
    for claim in (old, young, unknown):
        claims.finish(claim, None)
    for claim in (old, unknown):
        change(claim.job_id, finished_at=at(-8 * 86400))

    all_chores.tick()

    eventually("the old ones are gone", lambda: count(jobs) == 1)
    assert count(jobs, jobs.c.id == young.job_id) == 1


def test_a_large_leftover_is_removed_in_one_go_of_several_transactions(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        claim = a_claim(name="unit.inline")
        claims.finish(claim, None)
        change(claim.job_id, finished_at=at(-8 * 86400))

    assert chores.prune() == 5

    assert count(jobs) == 0


def test_the_dead_stay_unless_their_job_says_for_how_long(monkeypatch):
    definition = registry.get("unit.refused")
    monkeypatch.setitem(registry._definitions, "unit.refused", replace(definition, keep_dead_for=timedelta(hours=1)))
    ids = {}
    for name in ("unit.inline", "unit.refused", "gone.job"):
        claim = a_claim(name=name)
        claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)
        change(claim.job_id, finished_at=at(-30 * 86400))
        ids[name] = claim.job_id

    assert chores.prune() == 1

    assert count(jobs, jobs.c.id == ids["unit.refused"]) == 0
    assert count(jobs) == 2


def test_a_chore_that_takes_its_time_keeps_no_other_and_is_not_begun_twice(all_chores, monkeypatch):
    inside, go_on = [], Event()

    def slow() -> int:
        inside.append(current_thread().name)
        go_on.wait(10)
        return 0

    monkeypatch.setattr(chores, "prune", slow)
    try:
        for _ in range(3):
            all_chores._due.clear()
            job_id = a_job(expires_in_s=1.0)
            change(job_id, expires_at=at(-1))

            all_chores.tick()

            assert row(job_id).state == State.CANCELLED
        eventually("it has begun", lambda: inside)
        assert inside == ["celadon-prune"]
    finally:
        go_on.set()

    eventually("it may be begun again", lambda: not all_chores._aside["prune"].locked())


def test_a_chore_aside_that_fails_is_done_again_the_next_time(all_chores, monkeypatch):
    tries: list[int] = []
    monkeypatch.setattr(chores, "prune", lambda: tries.append(1) or 1 / 0)

    for expected in (1, 2):
        all_chores._due.clear()
        all_chores.tick()
        eventually("it was tried", lambda expected=expected: len(tries) == expected)
        eventually("and is over", lambda: not all_chores._aside["prune"].locked())


@pytest.mark.parametrize(("due", "more"), [(0, False), (2, False), (3, True), (7, True)])
def test_a_round_says_whether_there_is_more_to_promote(all_chores, monkeypatch, due, more):
    monkeypatch.setattr(moving, "BATCH", 3)
    monkeypatch.setattr(moving.promote, "__defaults__", (3,))
    for _ in range(due):
        change(a_job(state=State.SCHEDULED, delay_s=60.0), run_at=at(-1))

    assert (all_chores.tick() == 0.0) is more


@pytest.mark.parametrize(("next_due_s", "pause"), [(0.15, 0.15), (0.001, 0.05), (60.0, 0.25), (None, 0.25)])
def test_a_round_ends_when_the_next_job_is_due_within_bounds(all_chores, monkeypatch, next_due_s, pause):
    seen = replace(ahead.look(), next_due_s=next_due_s)
    monkeypatch.setattr(ahead, "look", lambda: seen)

    assert all_chores.tick() == pause


def test_a_look_says_when_the_next_job_is_due(ledger):
    assert ahead.look().next_due_s is None
    change(a_job(state=State.SCHEDULED, delay_s=60.0), run_at=at(40))

    seen = ahead.look()

    assert seen.next_due_s is not None
    assert 0 < seen.next_due_s <= 40
    assert not any((seen.due, seen.waiting, seen.parked, seen.expired))


def test_a_round_with_nothing_to_do_writes_nothing(all_chores):
    a_job(state=State.SCHEDULED, delay_s=60.0)
    all_chores.tick()
    eventually("the chores aside are over", lambda: not any(one.locked() for one in all_chores._aside.values()))
    statements: list[str] = []

    def keep(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(engine(), "before_cursor_execute", keep)
    all_chores.tick()
    event.remove(engine(), "before_cursor_execute", keep)

    assert [one for one in statements if one.startswith(("INSERT", "UPDATE", "DELETE"))] == []


def waiting_for(seconds: float) -> str:
    job_id = a_job()
    change(job_id, queued_at=at(-seconds))
    return job_id


def backlog_alerts() -> list[str]:
    with reading() as connection:
        return list(connection.execute(select(alerts.c.subject).where(alerts.c.kind == "backlog")).scalars())


def test_work_that_waits_long_while_the_broker_is_away_is_told_once(all_chores):
    waiting_for(61)
    waiting_for(1)
    all_chores.tick()

    (told,) = backlog_alerts()
    assert told.startswith("2 jobs are queued, the oldest for 61 s, while the broker is away")

    # A later look at the same outage, even in another hour, says no more.
    with begin() as connection:
        connection.execute(alerts.delete())
    all_chores._due.clear()
    all_chores.tick()
    assert backlog_alerts() == []


def test_the_next_outage_is_told_again(all_chores, monkeypatch, ledger):
    waiting_for(61)
    all_chores._watch_backlog()
    with begin() as connection:
        connection.execute(alerts.delete())

    with pointed(ledger_url=ledger, use_broker="true"):
        all_chores._watch_backlog()
    all_chores._watch_backlog()

    assert len(backlog_alerts()) == 1


def test_work_that_waits_a_little_or_whose_broker_is_there_is_told_to_nobody(all_chores, ledger):
    waiting_for(30)
    all_chores._watch_backlog()
    waiting_for(300)
    with pointed(ledger_url=ledger, use_broker="true"):
        all_chores._watch_backlog()

    assert backlog_alerts() == []


def test_an_outage_that_the_ledger_could_not_hear_of_is_told_later(all_chores, monkeypatch):
    waiting_for(61)
    with monkeypatch.context() as patch, pytest.raises(LedgerUnavailable):
        patch.setattr(chores, "write_backlog_alert", raise_away)
        all_chores._watch_backlog()

    all_chores._watch_backlog()

    assert len(backlog_alerts()) == 1


def raise_away(*_: object) -> None:
    raise LedgerUnavailable("for a moment")


def test_a_chore_that_fails_does_not_keep_the_others(all_chores, monkeypatch):
    monkeypatch.setattr(moving, "promote", lambda: 1 / 0)
    change(a_job(state=State.SCHEDULED, delay_s=60.0), run_at=at(-1))
    job_id = a_job(expires_in_s=1.0)
    change(job_id, expires_at=at(-1))

    all_chores.tick()

    assert row(job_id).state == State.CANCELLED


def test_a_ledger_that_is_away_ends_the_round(all_chores):
    with pointed(ledger_url="sqlite:////no/such/folder/x.db"), pytest.raises(LedgerUnavailable):
        all_chores.tick()


@pytest.fixture
def mailing(ledger: str, mail_sink: MailSink) -> Iterator[MailSink]:
    with pointed(ledger_url=ledger, use_broker="false", smtp_url=mail_sink.url, admin_email="ops@example.org"):
        yield mail_sink


def test_the_administrator_gets_one_mail_for_a_dead_job(all_chores, mailing):
    claims.fail(a_claim(), FAILURE, retry_in_s=None, alert_after=3)

    all_chores.tick()

    eventually("the alert is marked as sent", lambda: count(alerts, alerts.c.sent_at.is_not(None)))
    all_chores._due.clear()
    all_chores.tick()
    (mail,) = mailing.messages
    assert mail["To"] == "ops@example.org"
    assert mail["Subject"] == "[celadon] contract.job is dead after 1 failed attempts"
    assert "celadon replay" in mail.get_content()


def test_without_an_administrator_alerts_are_done_with_and_say_why(ledger, mail_sink):
    with pointed(ledger_url=ledger, use_broker="false", smtp_url=mail_sink.url, admin_email=""):
        claims.fail(a_claim(), FAILURE, retry_in_s=None, alert_after=3)

        assert send_due() == 0

    # A mailbox that is named later does not get what is long past.
    with reading() as connection:
        alert = connection.execute(select(alerts)).one()
    assert (alert.sent_at is not None, alert.error) == (True, "nobody to tell: ADMIN_EMAIL is empty")
    assert mail_sink.messages == []


def test_a_mail_that_was_refused_is_sent_again_under_the_same_id(all_chores, mailing):
    mailing.answers = ["451 try later"]
    claims.fail(a_claim(), FAILURE, retry_in_s=None, alert_after=3)
    all_chores.tick()
    eventually("the refusal is written down", lambda: count(alerts, alerts.c.error.like("%451%")))
    with begin() as connection:
        alert_id = connection.execute(select(alerts.c.id)).scalar_one()
        connection.execute(update(alerts).values(try_after=at(-1)))

    eventually("the thread that sends is free", lambda: not all_chores._aside["alerts"].locked())
    all_chores._due.clear()
    all_chores.tick()

    (mail,) = eventually("the mail arrives", lambda: mailing.messages)
    assert mail["Message-ID"] == f"<alert-{alert_id}@celadon>"
