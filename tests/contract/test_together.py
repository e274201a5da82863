"""What the threads of one process write at the same moment is one transaction, and each hears what concerns it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import event, select

from celadon import admission
from celadon.deadline import Abandoned
from celadon.errors import KeyConflict, LostClaim
from celadon.jobs import Claim
from celadon.ledger import claims, departures, limits, storing, switches
from celadon.ledger.db import begin, engine
from celadon.ledger.tables import attempts, jobs, starts
from celadon.ledger.together import Together
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import LEASE_S, NAME, ON_POSTGRESQL, WORKER, a_job, count, new_job, row
from tests.contract.limiting import let_go, limit, some, states
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")

T = TypeVar("T")


@contextmanager
def commits() -> Iterator[list[int]]:
    """The commits of the block."""
    made: list[int] = []

    def hear(_: object) -> None:
        made.append(1)

    event.listen(engine(), "commit", hear)
    try:
        yield made
    finally:
        event.remove(engine(), "commit", hear)


def at_once(of: Together[Any, Any], calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """What each of the calls gives or raises, all of which come while another is under way."""
    go = threading.Event()

    def busy(_: object) -> None:
        assert go.wait(10)

    def told(call: Callable[[], T]) -> T | BaseException:
        try:
            return call()
        except (Exception, LostClaim) as error:
            return error

    with ThreadPoolExecutor(len(calls) + 1) as pool, pytest.MonkeyPatch.context() as patched:
        one = of._one
        patched.setattr(of, "_one", busy)
        pool.submit(of, None)
        eventually("it is under way", lambda: of._since is not None)
        patched.setattr("celadon.ledger.together.PATIENCE_S", 10.0)
        made = [pool.submit(told, call) for call in calls]
        eventually("all wait", lambda: len(of._waiting) == len(calls))
        patched.setattr(of, "_one", one)
        go.set()
        return [each.result() for each in made]


def claiming(job_id: str) -> Callable[[], Claim | None]:
    return lambda: claims.claim(job_id, worker=WORKER, engine="worker", lease_s=LEASE_S)


def claimed_at_once(ids: Sequence[str]) -> list[Claim | BaseException | None]:
    return at_once(claims._together, [claiming(job_id) for job_id in ids])


def test_many_jobs_are_claimed_in_one_transaction() -> None:
    ids = some(8)

    with commits() as made:
        told = claimed_at_once(ids)

    assert [claim.job_id for claim in told if isinstance(claim, Claim)] == ids
    assert states(ids) == [State.RUNNING] * 8
    assert len(made) == 1


def test_a_claim_is_the_same_together_as_alone() -> None:
    limit("queue", "default", Limit(starts=50, per_s=10), concurrency=9)
    ids = some(3, tenant="acme", scope="order:1")
    let_go()
    alone = claiming(ids[0])()
    assert alone is not None

    told = claimed_at_once(ids[1:])

    for claim, job_id in zip(told, ids[1:], strict=True):
        assert isinstance(claim, Claim)
        assert claim.job_id == job_id
        same = ("epoch", "name", "queue", "tenant", "scope", "attempt", "max_attempts", "worker", "engine", "frees")
        assert [getattr(claim, name) for name in same] == [getattr(alone, name) for name in same]
        assert claim.begin_by is not None
        assert claim.claimed_at == row(job_id).claimed_at
    assert count(starts) == 3


def test_one_that_is_not_to_be_had_keeps_no_other_from_its_claim() -> None:
    switches.pause("tenant", "held", actor="test")
    good, gone, held, suspect = a_job(), a_job(), a_job(tenant="held"), a_job()
    with begin() as connection:
        connection.execute(jobs.update().where(jobs.c.id == suspect).values(quarantine=True))
    assert claiming(gone)() is not None

    first, *others = claimed_at_once([good, gone, held, suspect])

    assert isinstance(first, Claim)
    assert others == [None, None, None]


def test_a_job_that_is_asked_for_twice_is_had_once() -> None:
    job_id = a_job()

    told = claimed_at_once([job_id, job_id, job_id])

    assert sum(isinstance(claim, Claim) for claim in told) == 1
    assert told.count(None) == 2
    assert row(job_id).epoch == 1


def test_a_limit_for_each_worker_holds_where_many_claim_at_once() -> None:
    limit("queue", "default", Limit(concurrency=2, each="worker"), concurrency=100)
    ids = some(5)
    with begin() as connection:
        connection.execute(jobs.update().values(state=State.QUEUED, reserved_at=jobs.c.created_at))

    told = claimed_at_once(ids)

    assert sum(isinstance(claim, Claim) for claim in told) == 2
    assert sorted(states(ids)) == [State.RUNNING] * 2 + [State.WAITING] * 3


@ON_POSTGRESQL
def test_a_row_that_somebody_has_locked_holds_up_no_claim_but_its_own() -> None:
    locked, *others = some(3)
    had: list[Claim | BaseException | None] = []
    with engine().connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(select(jobs.c.id).where(jobs.c.id == locked).with_for_update())
        told = pool.submit(claimed_at_once, [locked, *others])
        eventually("the others are claimed", lambda: states(others) == [State.RUNNING] * 2)
        assert not told.done()
        connection.rollback()
        had = told.result(10)
    assert all(isinstance(claim, Claim) for claim in had)


def finished_at_once(held: Sequence[Claim]) -> list[State | BaseException]:
    return at_once(departures._together, [partial(claims.finish, claim, {"of": claim.job_id}, 9) for claim in held])


def test_many_finish_in_one_transaction_each_with_its_result_and_attempt() -> None:
    held = [claim for job_id in some(6) if (claim := claiming(job_id)())]

    with commits() as made:
        told = finished_at_once(held)

    assert told == [State.SUCCEEDED] * 6
    assert len(made) == 1
    for claim in held:
        assert (row(claim.job_id).result, row(claim.job_id).epoch) == ({"of": claim.job_id}, 2)
        assert count(attempts, attempts.c.job_id == claim.job_id, attempts.c.outcome == "succeeded") == 1


def test_a_claim_that_is_lost_hears_it_and_no_other_does() -> None:
    held = [claim for job_id in some(3) if (claim := claiming(job_id)())]
    claims.give_back(held[1])

    told = finished_at_once(held)

    assert (told[0], told[2]) == (State.SUCCEEDED, State.SUCCEEDED)
    assert isinstance(told[1], LostClaim)
    assert row(held[1].job_id).state == State.QUEUED


def test_a_result_that_the_database_refuses_spoils_no_other() -> None:
    held = [claim for job_id in some(2) if (claim := claiming(job_id)())]
    results: list[Any] = [{"fine": True}, float("nan")]

    told = at_once(
        departures._together,
        [partial(claims.finish, claim, result) for claim, result in zip(held, results, strict=True)],
    )

    assert told[0] == State.SUCCEEDED
    assert row(held[0].job_id).result == {"fine": True}
    if isinstance(told[1], Exception):  # PostgreSQL's JSON has no NaN.
        assert row(held[1].job_id).state == State.RUNNING


def storing_(**facts: Any) -> Callable[[], storing.Stored]:
    new = new_job(**facts)
    return lambda: storing.store(new, Abandoned())


def test_many_are_stored_in_one_transaction_and_those_with_room_are_let_in() -> None:
    limit("queue", "default", concurrency=2)

    with commits() as made:
        told = at_once(storing._together, [storing_() for _ in range(4)])

    assert [one.state for one in told if isinstance(one, storing.Stored)] == [
        *([State.QUEUED] * 2),
        *([State.WAITING] * 2),
    ]
    assert len(made) == 1
    assert count(jobs, jobs.c.reserved_at.is_not(None)) == 2


def test_a_key_that_is_in_conflict_refuses_its_own_job_only() -> None:
    facts = {"key": "k", "payload_hash": "one"}
    storing_(**facts)()

    plain, same, other = at_once(
        storing._together, [storing_(), storing_(**facts), storing_(key="k", payload_hash="two")]
    )

    assert isinstance(plain, storing.Stored)
    assert plain.is_new
    assert isinstance(same, storing.Stored)
    assert not same.is_new
    assert isinstance(other, KeyConflict)
    assert count(jobs) == 2


def test_who_is_given_up_is_not_stored_and_all_others_are() -> None:
    given_up = Abandoned()
    given_up.set()
    gone, there = new_job(), new_job()

    told = at_once(
        storing._together,
        [lambda: storing.store(gone, given_up), lambda: storing.store(there, Abandoned())],
    )

    assert [isinstance(one, Exception) for one in told] == [True, False]
    assert count(jobs, jobs.c.id == gone.id) == 0
    assert count(jobs, jobs.c.id == there.id) == 1


@ON_POSTGRESQL
def test_a_key_in_somebody_s_open_transaction_holds_up_its_own_job_only() -> None:
    storing_(key="taken", payload_hash="h")()
    plain = new_job()
    with engine().connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.exec_driver_sql("UPDATE keys SET expires_at = expires_at")
        told = pool.submit(
            at_once,
            storing._together,
            [storing_(key="taken", payload_hash="h"), lambda: storing.store(plain, Abandoned())],
        )
        eventually("the other is stored", lambda: count(jobs, jobs.c.id == plain.id))
        connection.rollback()
        same, _ = told.result(10)
    assert isinstance(same, storing.Stored)
    assert not same.is_new


def test_for_many_that_end_there_is_one_release(monkeypatch: pytest.MonkeyPatch) -> None:
    for queue in ("default", "data_sync"):
        limit("queue", queue, concurrency=2)
    ids = [job_id for queue in ("default", "data_sync") for job_id in some(4, queue=queue)]
    held = [claim for job in limits.release() if (claim := claiming(job.job_id)())]
    for claim in held:
        claims.finish(claim, None)
    monkeypatch.setattr(admission, "tell", lambda released: None)
    with commits() as made:
        at_once(admission._give_on, [partial(admission.give_on, claim) for claim in held])

    assert len(held) == 4
    assert len(made) == 1
    assert [job_id for job_id in ids if row(job_id).state == State.QUEUED] == [*ids[2:4], *ids[6:]]
    assert held[0].name == NAME
