"""A limited job that is let in as it is stored: only where a release would have given it that place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celadon.deadline import Abandoned
from celadon.ledger import limits, switches
from celadon.ledger.storing import store
from celadon.ledger.tables import jobs
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import NAME, ON_POSTGRESQL, a_claim, count, new_job, race, row
from tests.contract.limiting import end, let_go, limit, some

pytestmark = pytest.mark.usefixtures("ledger")


def stored(**facts: Any) -> State:
    return store(new_job(**facts), Abandoned()).state


def test_it_has_the_place_that_a_release_would_give_it() -> None:
    limit("queue", "default", concurrency=1)
    new = new_job()

    assert store(new, Abandoned()).state == State.QUEUED

    there = row(new.id)
    assert there.reserved_at is not None
    assert there.send_due is not None  # When it is told of again, if nobody has claimed it by then.
    assert there.sends == 1
    assert a_claim(new.id).frees
    assert (stored(), count(jobs, jobs.c.reserved_at.is_not(None))) == (State.WAITING, 1)


def test_it_goes_in_again_when_one_has_ended() -> None:
    limit("queue", "default", concurrency=1)
    first = new_job()
    store(first, Abandoned())
    claim = a_claim(first.id)
    assert stored(queue="default", name="another.job") == State.WAITING
    end(claim)

    assert stored() == State.WAITING  # Behind the one that waits.
    assert len(let_go()) == 1


@pytest.mark.parametrize(
    "before",
    [
        lambda: limit("job", NAME, concurrency=9),
        lambda: limit("tenant", "acme", concurrency=9),
        lambda: limits.add("queue", "default", Limit(starts=9, per_s=1), actor="test"),
        lambda: limits.add("queue", "default", Limit(concurrency=9, each="tenant"), actor="test"),
        lambda: limits.add("queue", "default", Limit(concurrency=9, each="worker"), actor="test"),
        lambda: switches.pause("queue", "default", actor="test"),
        lambda: switches.pause("job", NAME, actor="test"),
        lambda: switches.pause("tenant", "acme", actor="test"),
        lambda: some(1),
    ],
    ids=["name", "tenant", "window", "each tenant", "each worker", "queue", "job paused", "tenant paused", "waits"],
)
def test_what_is_not_plain_waits_for_a_release(before: Callable[[], object]) -> None:
    limit("queue", "default", concurrency=9)
    before()

    assert stored(tenant="acme") == State.WAITING


def test_at_the_same_moment_no_more_get_in_than_there_are_places() -> None:
    limit("queue", "default", concurrency=5)

    told = race(12, lambda _: stored())

    # On PostgreSQL who meets another that is at it waits for a release.
    assert 1 <= told.count(State.QUEUED) <= 5
    assert count(jobs, jobs.c.reserved_at.is_not(None)) == told.count(State.QUEUED)
    assert len(let_go()) == 5 - told.count(State.QUEUED)


@ON_POSTGRESQL
def test_while_a_release_is_at_it_a_new_job_waits_and_is_stored_all_the_same() -> None:
    from celadon.ledger import releasing
    from celadon.ledger.db import begin

    limit("queue", "default", concurrency=5)
    with begin() as connection:
        releasing.lock(connection)
        assert stored() == State.WAITING
    assert len(let_go()) == 1
