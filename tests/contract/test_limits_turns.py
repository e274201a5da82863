"""Whose turn it is: tenants one after the other, within a tenant by priority and age, and those behind stay behind."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from celadon.ids import new_id
from celadon.ledger.db import at, begin
from celadon.ledger.tables import jobs
from celadon.states import State
from tests.contract.given import NAME, a_job
from tests.contract.limiting import begun, end, let_go, limit, some, states

pytestmark = pytest.mark.usefixtures("ledger")


def crowd(many: int, tenant: str | None, name: str = NAME) -> None:
    """So many waiting jobs of one tenant, at once."""
    facts: dict[str, Any] = {"name": name, "queue": "default", "state": State.WAITING, "payload": {}, "tenant": tenant}
    with begin() as connection:
        rows = [{"id": new_id(), "max_attempts": 5, **facts} for _ in range(many)]
        connection.execute(insert(jobs).values(created_at=at()), rows)


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", NAME)])
def test_three_jobs_of_one_tenant_come_within_the_first_turns_beside_ten_thousand_of_another(kind, name):
    limit(kind, name, concurrency=2)
    crowd(10_000, "big")
    few = some(3, tenant="few")

    order = []
    for _ in range(4):
        for claim in begun():
            order.append(claim.job_id)
            end(claim)

    assert set(few) <= set(order[:6])


def test_tenants_take_turns_one_place_at_a_time():
    limit(concurrency=1)
    a, b, c = some(3, tenant="a"), some(2, tenant="b"), some(1, tenant="c")
    nobody = some(2)

    order = []
    while claims := begun():
        order.append(claims[0].job_id)
        end(claims[0])

    assert order == [a[0], b[0], c[0], nobody[0], a[1], b[1], nobody[1], a[2]]


def test_a_turn_goes_on_where_it_ended_however_many_are_let_go_at_once():
    limit(concurrency=3)
    for tenant in "abcde":
        some(2, tenant=tenant)

    served = []
    for _ in range(3):
        for claim in begun():
            served.append(claim.tenant)
            end(claim)

    assert "".join(tenant or "" for tenant in served) == "abcdeabcd"


def test_within_a_tenant_the_urgent_go_first_and_then_the_oldest():
    limit("queue", "default", concurrency=1)
    old, young = some(2, tenant="a")
    urgent = a_job(tenant="a", priority=5)
    other_name = a_job("contract.other", tenant="a", priority=1)

    order = []
    while claims := begun():
        order.append(claims[0].job_id)
        end(claims[0])

    assert order == [urgent, other_name, old, young]


def test_a_new_job_goes_behind_those_that_wait():
    limit(concurrency=1)
    _, second = some(2)
    (claim,) = begun()
    third = a_job()
    end(claim)

    assert let_go() == [second]
    assert states([third]) == ["waiting"]


def test_a_tenant_without_room_of_its_own_keeps_nobody_from_a_turn():
    limit("queue", "default", concurrency=10)
    limit("tenant", "full", concurrency=1)
    some(3, tenant="full")
    others = some(3, tenant="other")

    released = let_go()

    assert len(released) == 4
    assert set(others) <= set(released)


def test_a_name_without_room_hides_nothing_that_waits_behind_it_in_its_queue():
    limit("queue", "default", concurrency=10)
    limit("job", NAME, concurrency=1)
    crowd(2_000, None)
    behind = some(2, "contract.other")

    released = let_go()

    assert len(released) == 3
    assert set(behind) <= set(released)


def test_tenants_that_have_no_room_are_passed_over_until_one_has():
    limit(each="tenant", concurrency=1)
    for number in range(120):
        some(2, tenant=f"t{number:03}")
    assert len(let_go()) == 120

    late = a_job(tenant="z")

    # A look goes over so many tenants; the next begins behind them.
    assert [job_id for _ in range(4) for job_id in let_go(most=1)] == [late]
