"""Limits: that no more run, and no more start in a window, than each rule that holds for a job allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from celadon.ledger import claims, limits, moving, presence, recovery, waiting
from celadon.ledger.db import at, engine
from celadon.ledger.operating import cancel
from celadon.ledger.presence import Worker
from celadon.ledger.tables import starts
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import (
    FAILURE,
    NAME,
    a_claim,
    a_job,
    change,
    count,
    let_its_lease_run_out,
    row,
)
from tests.contract.limiting import begun, end, let_go, let_the_starts_age, limit, some, states

pytestmark = pytest.mark.usefixtures("ledger")

GATES = [("queue", "default"), ("job", NAME), ("tenant", "acme")]


@pytest.mark.parametrize(("kind", "name"), GATES)
def test_no_more_run_at_a_time_than_a_queue_a_name_or_a_tenant_allows(kind, name):
    limit(kind, name, concurrency=2)
    first, second, third = some(3, tenant="acme")
    free = a_job("contract.other", queue="data_sync", tenant="other")
    assert states([first, second, third, free]) == ["waiting", "waiting", "waiting", "queued"]

    one, two = begun()

    assert [one.job_id, two.job_id] == [first, second]
    assert let_go() == []
    end(one)
    assert let_go() == [third]


@pytest.mark.parametrize(("kind", "name"), GATES)
def test_no_more_start_in_a_window_than_a_queue_a_name_or_a_tenant_allows(kind, name):
    limit(kind, name, starts=2, per_s=10)
    first, second, third = some(3, tenant="acme")

    for claim in begun():
        end(claim)

    assert states([first, second, third]) == ["succeeded", "succeeded", "waiting"]
    let_the_starts_age(10.4)  # The window is looked at with a margin of half a second.
    assert let_go() == []
    let_the_starts_age(10.6)
    assert let_go() == [third]


def test_a_place_that_is_kept_counts_in_the_window_until_its_job_has_started():
    limit(starts=2, per_s=1)
    some(3)

    kept = let_go()

    assert len(kept) == 2
    assert let_go() == []
    let_the_starts_age(60)
    assert let_go() == []
    a_claim(kept[0])
    let_the_starts_age(60)
    assert len(let_go()) == 1


def test_a_start_counts_however_its_run_ended_and_whatever_became_of_the_job():
    limit(starts=3, per_s=60)
    some(5)
    failed, given_back, cancelled = begun()
    claims.fail(failed, FAILURE, retry_in_s=None, alert_after=3)
    claims.give_back(given_back)
    cancel(cancelled.job_id)
    claims.end_cancelled(cancelled)

    assert let_go() == []


def test_each_tenant_has_a_limit_of_its_own_and_those_without_one_share_one():
    limit(each="tenant", concurrency=1)
    a, more_of_a = some(2, tenant="a")
    b, nobodys, more_of_nobody = a_job(tenant="b"), a_job(), a_job()

    assert set(let_go()) == {a, b, nobodys}
    assert states([more_of_a, more_of_nobody]) == ["waiting", "waiting"]


def test_each_tenant_has_a_window_of_its_own():
    limit(each="tenant", starts=1, per_s=10)
    a, _ = some(2, tenant="a")
    b, _ = some(2, tenant="b")

    for claim in begun():
        end(claim)

    assert states([a, b]) == ["succeeded", "succeeded"]
    assert let_go() == []


def test_all_rules_that_stand_before_a_job_hold():
    limit("queue", "default", concurrency=3)
    limit("job", NAME, Limit(starts=4, per_s=60), concurrency=2)
    limit("tenant", "acme", concurrency=1)
    of_acme, of_others, others = some(2, tenant="acme"), some(4), some(3, "contract.other")

    running = begun()

    assert len(running) == 3
    assert len([claim for claim in running if claim.name == NAME]) <= 2
    assert len([claim for claim in running if claim.tenant == "acme"]) <= 1
    ran = 0
    while running:
        end(running.pop())
        running += begun()
        ran += 1
    assert ran == 4 + len(others)  # Four starts of the name in the window, and all of the other.
    assert states(others) == ["succeeded"] * 3
    assert states([*of_acme, *of_others]).count("waiting") == 2


def worker(name: str, *queues: str) -> None:
    presence.appear(Worker(id=name, host="host", pid=7, lane="default", queues=queues, tasks=(NAME,), concurrency=50))


def test_each_worker_runs_so_many_and_no_more():
    limit(each="worker", concurrency=2)
    worker("host:a", "default")
    worker("host:b", "default")
    ids = some(6)

    released = let_go()
    taken = [a_claim(job_id, worker="host:a:1") for job_id in released[:2]]

    assert len(released) == 4  # As many as both together may run.
    assert claims.claim(released[2], worker="host:a:2", engine="worker", lease_s=30) is None
    assert claims.why_not(released[2]).state == State.WAITING
    assert count(starts) == 2
    change(released[2], queued_at=at(-2))  # It waits a moment.
    assert let_go() == [released[2]]
    taken += [a_claim(job_id, worker="host:b:1") for job_id in released[2:]]
    assert let_go() == []
    end(taken[0])
    assert let_go() == [ids[4]]


def test_a_workers_room_is_not_anothers_nor_that_of_a_lane_that_does_not_consume_the_queue():
    limit(each="worker", concurrency=2)
    worker("host:a", "default")
    worker("host:b", "data_sync")
    first, second, _, _ = some(4)

    assert let_go() == [first, second]
    for job_id in (first, second):
        a_claim(job_id, worker="host:a:1")
    there = a_job(queue="data_sync")
    assert let_go() == [there]


def test_a_limit_for_each_worker_lets_no_more_go_than_a_worker_has_slots():
    limit(each="worker", concurrency=20)
    presence.appear(
        Worker(id="host:a", host="host", pid=7, lane="default", queues=("default",), tasks=(NAME,), concurrency=3)
    )
    some(5)

    assert len(let_go()) == 3


def test_what_a_full_worker_sent_back_waits_a_moment_and_does_not_go_to_and_fro(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "REST_S", 60.0)
    limit(each="worker", concurrency=1)
    worker("host:a", "default")
    worker("host:b", "default")  # It is alive, and hangs.
    first, second, third = some(3)
    assert let_go(sends=True) == [first, second]
    a_claim(first, worker="host:a:1")

    assert claims.claim(second, worker="host:a:2", engine="worker", lease_s=30) is None

    assert let_go(sends=True) == [third]
    assert claims.claim(third, worker="host:a:2", engine="worker", lease_s=30) is None
    assert let_go(sends=True) == []
    change(second, queued_at=at(-61))
    assert let_go(sends=True) == [second]


def test_with_no_worker_alive_as_many_may_go_as_one_would_run():
    limit(each="worker", concurrency=2)
    some(3)

    assert len(let_go()) == 2


def test_a_job_queued_before_the_limit_was_set_is_not_claimed_and_waits_for_its_turn():
    ids = some(3)
    limit(concurrency=1)

    assert claims.claim(ids[0], worker="w:1", engine="worker", lease_s=30) is None
    assert claims.why_not(ids[0]).held
    assert moving.queued_ids(["default"], [NAME], 10) == []
    assert moving.hold_unplaced() == 3
    assert moving.hold_unplaced() == 0
    assert let_go() == [ids[0]]
    assert moving.queued_ids(["default"], [NAME], 10) == [ids[0]]


def test_what_runs_as_a_limit_is_set_counts_at_once():
    running = a_claim()
    limit("job", NAME, Limit(starts=2, per_s=60), concurrency=2)
    first, _ = some(2)

    assert let_go() == [first]
    end(a_claim(first))
    end(running)
    assert let_go() == []  # Two have started in the window, one of them before there was a limit.


def test_a_limit_is_raised_lowered_and_taken_away_while_jobs_wait():
    limit(concurrency=1)
    ids = some(6)
    assert len(begun()) == 1

    limit(concurrency=3)
    assert len(begun()) == 2

    limit(concurrency=2)
    assert let_go() == []

    limits.set_limits("job", NAME, [], actor="test")
    assert moving.release() == 3
    assert states(ids) == ["running"] * 3 + ["queued"] * 3
    a_claim(ids[5])


def test_a_lower_limit_takes_back_the_places_that_are_kept():
    limit(concurrency=4)
    ids = some(4)
    assert let_go() == ids

    limit(concurrency=1)

    assert states(ids) == ["waiting"] * 4
    assert let_go() == ids[:1]


def given_back(job_id: str) -> None:
    claims.give_back(a_claim(job_id))


def reaped(job_id: str) -> None:
    a_claim(job_id)
    let_its_lease_run_out(job_id)
    assert len(recovery.reap()) == 1


@pytest.mark.parametrize("come_back", [given_back, reaped])
def test_a_limited_job_that_comes_back_waits_for_a_place_like_the_others(come_back):
    limit(concurrency=1)
    first, second = some(2)
    let_go()

    come_back(first)

    assert row(first).reserved_at is None
    assert claims.claim(first, worker="w:1", engine="worker", lease_s=30, alone=True) is None
    assert moving.hold_unplaced() == 1
    assert let_go() == [first]
    assert states([second]) == ["waiting"]


def test_a_retry_waits_for_a_place_when_it_is_due():
    limit(concurrency=1)
    first, second = some(2)
    (claim,) = begun()
    claims.fail(claim, FAILURE, retry_in_s=60, alert_after=3)
    assert let_go() == [second]
    change(first, run_at=at(-1))

    assert moving.promote() == 1

    assert states([first]) == ["waiting"]


def expire(job_id: str) -> None:
    change(job_id, expires_at=at(-1))
    moving.expire()


@pytest.mark.parametrize("leave", [cancel, moving.park, moving.hold, expire])
def test_a_place_is_free_again_when_its_job_leaves_without_having_run(leave):
    limit(concurrency=1)
    first, second = a_job(), a_job()
    let_go()

    leave(first)

    assert row(first).reserved_at is None
    expire(first)  # Who only went back to wait would be next again.
    assert let_go() == [second]


def test_nothing_that_is_paused_is_released_and_a_place_kept_before_does_not_help():
    from celadon.ledger import switches

    limit(concurrency=1)
    first = a_job()
    let_go()
    switches.pause("queue", "default", actor="test")

    assert claims.claim(first, worker="w:1", engine="worker", lease_s=30) is None
    moving.hold(first)
    assert let_go() == []

    switches.resume("queue", "default", actor="test")
    assert let_go() == [first]


def test_what_no_limit_holds_is_released_as_before():
    limit("queue", "data_sync", concurrency=1)
    free = a_job()
    moving.hold(free)
    some(3, queue="data_sync")

    assert moving.release() == 1
    assert states([free]) == ["queued"]


def test_only_what_waits_at_the_gates_that_are_named_is_released():
    limit("job", NAME, concurrency=1)
    limit("job", "contract.other", concurrency=1)
    here, there = a_job(), a_job("contract.other")

    assert let_go(gates={("job", NAME)}) == [here]
    assert let_go(gates={("queue", "default")}) == []
    assert let_go() == [there]


def test_what_is_released_is_to_be_sent_by_the_sender_or_was_sent_by_who_released_it():
    limit(concurrency=2)
    some(2)

    (by_sender,) = let_go(most=1)
    (by_me,) = let_go(sends=True)

    assert (row(by_sender).sends, row(by_me).sends) == (0, 1)
    assert row(by_sender).send_due < row(by_me).send_due
    assert row(by_me).reserved_at is not None


def test_starts_are_forgotten_when_no_window_looks_back_at_them():
    limit(starts=5, per_s=100)
    some(2)
    begun()

    let_the_starts_age(90)
    assert limits.forget_starts() == 0
    let_the_starts_age(110)
    assert limits.forget_starts() == 2


def test_a_job_that_nothing_limits_costs_no_statement_more_and_records_no_start():
    limit("queue", "data_sync", concurrency=1)
    job_id = a_job()
    with statements() as asked:
        claim = a_claim(job_id)
        end(claim)

    verbs = [one.split(maxsplit=1)[0] for one in asked]
    assert verbs == ["UPDATE", "UPDATE", "INSERT"]  # The claim, the departure, and the attempt as it was.
    assert (claim.frees, claim.begin_by) == (False, None)
    assert count(starts) == 0


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements of the block, without the words that begin and end a transaction."""
    asked: list[str] = []

    def hear(_: object, __: object, statement: str, *___: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(engine(), "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(engine(), "before_cursor_execute", hear)
