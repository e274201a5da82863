"""How delegated queues are doing, on each database: right, bounded, and in few statements however many there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from celadon.jobs import RequestView
from celadon.ledger import claims, deliveries, fleet, limits, presence, switches
from celadon.ledger.db import at, begin, engine, reading
from celadon.ledger.fleet import Fleet
from celadon.ledger.presence import Worker
from celadon.ledger.tables import starts, workers
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import FAILURE, ON_POSTGRESQL, a_claim, a_job, after_a_statement, change

pytestmark = pytest.mark.usefixtures("ledger")

LANE, DELIVER = "delegated", "contract.deliver"


def an_email(queue: str = "email", **facts: Any) -> str:
    return a_job(DELIVER, queue=queue, **facts)


def look(*queues: str) -> Fleet:
    return fleet.look(queues or ("email",), LANE, DELIVER)


def test_an_empty_ledger_tells_nothing() -> None:
    seen = look()

    assert (seen.counts, seen.oldest, seen.pauses, seen.starts, seen.pace, seen.errors, list(seen.workers)) == (
        *({} for _ in range(6)),
        [],
    )


def test_jobs_are_counted_by_queue_and_state_those_of_unknown_queues_too() -> None:
    claims.finish(a_claim(an_email()), None)
    an_email()
    an_email("gone", state=State.SCHEDULED, delay_s=60.0)

    counts = look().counts

    assert counts["email"] == {**dict.fromkeys(State, 0), State.SUCCEEDED: 1, State.QUEUED: 1}
    assert counts["gone"][State.SCHEDULED] == 1


def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        an_email()
    few = fleet._counts_of(2)
    monkeypatch.setattr(fleet, "_COUNTS", few)

    assert look().counts["email"][State.QUEUED] == 2


def test_the_oldest_waits_since_it_could_have_run() -> None:
    change(an_email(), created_at=at(-500), run_at=at(-40))
    change(an_email(), created_at=at(-30))
    change(an_email("sms"), created_at=at(-7))

    seen = look()

    assert timedelta(seconds=40) <= seen.now - seen.oldest["email"] < timedelta(seconds=50)
    assert timedelta(seconds=7) <= seen.now - seen.oldest["sms"] < timedelta(seconds=17)


def test_a_job_that_has_just_become_due_again_does_not_hide_one_that_waits_for_longer() -> None:
    change(an_email(), created_at=at(-7200), run_at=at(-1))
    change(an_email(), created_at=at(-3600))

    seen = look()

    assert timedelta(seconds=3600) <= seen.now - seen.oldest["email"] < timedelta(seconds=3610)


def test_the_oldest_is_looked_for_among_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "OLDEST_OF", 1)
    change(an_email(), created_at=at(-7200), run_at=at(-1))
    change(an_email(), created_at=at(-3600))

    seen = look()

    assert seen.now - seen.oldest["email"] < timedelta(seconds=60)


def test_all_is_told_as_of_one_moment() -> None:
    job_id = an_email()

    with after_a_statement("AS state", lambda _: claims.finish(a_claim(job_id), None)):
        seen = look()

    # Whatever is told of the job after its end is told as before it.
    assert (seen.counts["email"][State.QUEUED], "email" in seen.oldest, seen.pace) == (1, True, {})
    assert look().counts["email"][State.SUCCEEDED] == 1


@ON_POSTGRESQL
def test_a_look_goes_by_indexes_and_changes_nothing_for_whoever_uses_the_connection_next() -> None:
    told = []

    def ask(connection: Connection) -> None:
        told.append(connection.exec_driver_sql("SHOW enable_seqscan").scalar())

    with after_a_statement("AS state", ask):
        look()

    with reading() as connection:
        ask(connection)
    assert told == ["off", "on"]


def test_pauses_limits_and_starts_are_told() -> None:
    switches.pause("queue", "email", reason="new templates")
    switches.pause("queue", "sms", for_s=60)
    limits.set_limits("queue", "email", [Limit(concurrency=5, starts=10, per_s=1)], actor="test")
    with begin() as connection:
        for number, ago in enumerate((0, 0, 5)):
            row = {"job_id": str(number), "epoch": 1, "queue": "email", "name": DELIVER, "at": at(-ago)}
            connection.execute(starts.insert().values(row))

    seen = look("email", "sms")

    assert seen.pauses["email"] == ("new templates", None)
    assert seen.pauses["sms"][1] is not None
    assert seen.limits == {"email": (Limit(concurrency=5, starts=10, per_s=1),)}
    assert seen.starts == {"email": 2}


def test_the_pace_is_that_of_the_last_minute() -> None:
    for ago in (1, 2, 90):
        job_id = an_email()
        claims.finish(a_claim(job_id), None)
        change(job_id, finished_at=at(-ago))
    claims.fail(a_claim(an_email()), FAILURE, retry_in_s=None, alert_after=3)

    assert look().pace == {"email": pytest.approx(3 / 60)}


def finished(ago: float, queue: str = "email") -> None:
    job_id = an_email(queue)
    claims.finish(a_claim(job_id), None)
    change(job_id, finished_at=at(-ago))


def test_where_more_ended_than_are_looked_at_the_pace_is_that_of_the_time_they_ended_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet, "PACE_OF", 4)
    for ago in (10, 4, 3, 2):
        finished(ago)
    finished(0.1, "sms")  # The fifth: the first of the others is not looked at any more.

    pace = look().pace

    # Of every queue: one that ended a moment ago does not make its queue quick.
    assert pace == {"email": pytest.approx(3 / 4, rel=0.2), "sms": pytest.approx(1 / 4, rel=0.2)}


def test_what_succeeded_and_what_died_are_each_as_long_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "PACE_OF", 3)
    for ago in (20, 10):
        finished(ago)
    claims.fail(a_claim(an_email()), FAILURE, retry_in_s=None, alert_after=3)

    assert look().pace == {"email": pytest.approx(3 / 60)}  # Neither list was cut.


def test_the_last_error_is_that_of_a_delivery_or_of_a_death_whichever_was_later() -> None:
    request = RequestView(method="POST", url="http://mail/", headers={}, body="")
    claim = a_claim(an_email())
    deliveries.keep(claim, verdict="answered 500", seconds=0.1, request=request, answer=None)
    assert look().errors["email"].message == "answered 500"
    assert look().errors["email"].job_id == claim.job_id

    dead = a_claim(an_email())
    claims.fail(dead, replace(FAILURE, message="no keys"), retry_in_s=None, alert_after=3)
    assert look().errors["email"].message == "no keys"
    change(dead.job_id, finished_at=at(-60))
    assert look().errors["email"].message == "answered 500"


def test_workers_of_the_lane_are_told_and_which_of_them_stall() -> None:
    for name in ("well", "silent", "lossy", "gone"):
        facts: dict[str, Any] = {"id": name, "host": "host", "pid": 7, "concurrency": 9, "tasks": (DELIVER,)}
        presence.appear(Worker(lane=LANE, queues=("email",), **facts))
    presence.appear(Worker(id="o", host="host", pid=8, lane="default", queues=("default",), tasks=(), concurrency=1))
    with begin() as connection:
        for name, values in (
            ("silent", {"last_seen": at(-60)}),
            ("gone", {"last_seen": at(-86400)}),
            ("lossy", {"lost_slots": 2}),
        ):
            connection.execute(update(workers).where(workers.c.id == name).values(values))

    told = {worker.id: worker for worker in look().workers}

    assert {name: (worker.stalled, worker.consumes) for name, worker in told.items()} == {
        "well": (False, True),
        "silent": (True, False),
        "lossy": (True, True),
    }
    assert told["well"].queues == {"email"}


def test_hundreds_of_queues_cost_no_more_statements_than_one() -> None:
    def statements(*queues: str) -> int:
        ran: list[str] = []

        def count(_: Any, __: Any, statement: str, *___: Any) -> None:
            ran.append(statement)

        event.listen(engine(), "before_cursor_execute", count)
        try:
            look(*queues)
        finally:
            event.remove(engine(), "before_cursor_execute", count)
        return len(ran)

    an_email()
    one = statements("email")
    many = [f"queue-{number}" for number in range(200)]
    for queue in many:
        an_email(queue)

    assert statements(*many) == one
