"""Releases, claims and changes at the same moment: places are never given twice."""

from __future__ import annotations

import pytest

from celadon.ledger import claims, limits
from celadon.ledger.db import begin
from celadon.ledger.tables import jobs, starts, switches
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import NAME, count, race
from tests.contract.limiting import let_go, limit, some

pytestmark = pytest.mark.usefixtures("ledger")

HELD = jobs.c.reserved_at.is_not(None)


@pytest.mark.parametrize("rule", [Limit(concurrency=5), Limit(starts=5, per_s=60)], ids=str)
def test_releases_at_the_same_moment_give_no_more_places_than_there_are(rule):
    limits.set_limits("job", NAME, [rule], actor="test")
    ids = some(20)

    released = [job_id for each in race(6, lambda _: let_go()) for job_id in each]

    assert sorted(released) == ids[:5]
    assert count(jobs, HELD) == 5


def test_limits_that_are_added_at_the_same_moment_all_stand():
    limit("queue", "default", concurrency=9)

    told = race(4, lambda number: limits.add("queue", "default", Limit(concurrency=number + 1), actor="test"))

    assert set(limits.find("queue", "default").rules) == {Limit(concurrency=n) for n in (1, 2, 3, 4, 9)}
    assert sorted(map(len, told)) == [2, 3, 4, 5]


def test_releases_beside_claims_never_let_more_start_than_the_window_allows():
    limit(starts=30, per_s=3600)
    some(60)
    mine: list[str] = []

    def release_or_claim(number: int) -> int:
        taken = 0
        for _ in range(40):
            if number < 2:
                mine.extend(let_go(most=4))
            elif mine:
                taken += claims.claim(mine.pop(), worker="w:1", engine="worker", lease_s=30) is not None
        return taken

    started = sum(race(4, release_or_claim))

    assert started == count(starts)
    assert count(starts) + count(jobs, HELD, jobs.c.state == State.QUEUED) <= 30
    assert count(jobs, jobs.c.state != State.WAITING) <= 30


def test_of_the_claims_of_one_worker_at_the_same_moment_no_more_go_through_than_it_may_run():
    limit("queue", "default", concurrency=3)
    some(3)
    released = let_go()
    # A rule that comes to stand there between a release and the claims.
    with begin() as connection:
        rule = Limit(concurrency=1, each="worker").as_dict()
        connection.execute(switches.update().values(limits=[rule]))

    taken = race(3, lambda n: claims.claim(released[n], worker=f"host:boot:{n}", engine="worker", lease_s=30))

    assert sum(claim is not None for claim in taken) == 1
    assert count(starts) == 1
    assert count(jobs, jobs.c.state == State.WAITING) == 2


def test_a_limit_that_is_lowered_beside_releases_holds_from_then_on():
    limit(concurrency=8)
    some(30)

    def act(number: int) -> None:
        if number:
            let_go(most=3)
        else:
            limit(concurrency=2)

    race(4, act)
    while let_go():
        pass

    assert count(jobs, HELD) == 2
