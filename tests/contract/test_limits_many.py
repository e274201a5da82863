"""Many limits at once: of hundreds of tenants, and of several gates before one job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from celadon import Submitted, submit
from celadon.ids import new_id
from celadon.ledger import gates, limits
from celadon.ledger import switches as pauses
from celadon.ledger.db import at, begin, engine, reading
from celadon.ledger.tables import jobs, switches
from celadon.settings import overridden
from celadon.states import State
from tests.contract.given import NAME, a_job, change
from tests.contract.jobs import anything
from tests.contract.limiting import begun, end, let_go, limit, some, states

pytestmark = pytest.mark.usefixtures("ledger")

TENANTS = 1_200  # More than SQLite puts into one compound statement.


def limited_tenants(many: int = TENANTS, **rule: Any) -> None:
    with begin() as connection:
        rows = [{"kind": "tenant", "name": f"t{number:04}", "limits": [rule]} for number in range(many)]
        connection.execute(insert(switches), rows)


def crowd(tenants: dict[str, int], name: str = NAME, queue: str = "default") -> None:
    """So many waiting jobs of each tenant, at once."""
    facts: dict[str, Any] = {"name": name, "queue": queue, "state": State.WAITING, "payload": {}, "max_attempts": 5}
    rows = [{"id": new_id(), "tenant": tenant, **facts} for tenant, many in tenants.items() for _ in range(many)]
    with begin() as connection:
        connection.execute(insert(jobs).values(created_at=at()), rows)


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements of the block."""
    asked: list[str] = []

    def hear(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    event.listen(engine(), "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(engine(), "before_cursor_execute", hear)


def test_a_window_for_each_of_more_tenants_than_a_statement_has_parts() -> None:
    limited_tenants(starts=3, per_s=60)
    limit("queue", "default", concurrency=1)

    with overridden(ledger_timeout_s=10):  # A busy machine is no ledger that hangs.
        receipt = submit(anything.name, {"value": 1}, tenant="t0007")

    assert receipt.outcome == Submitted.DEFERRED  # It was let in: the broker is switched off.
    assert len(limits.every()) == TENANTS + 1


def test_a_release_reads_the_limits_of_those_who_wait_only(monkeypatch: pytest.MonkeyPatch) -> None:
    limited_tenants(concurrency=3)
    limit("queue", "default", concurrency=1)
    some(2, tenant="t0007")
    read: list[str] = []

    def reads(**facts: Any) -> gates.Standing:
        read.append(facts["name"])
        return standing(**facts)

    standing = gates.Standing
    monkeypatch.setattr(gates, "Standing", reads)

    assert len(let_go()) == 1
    assert 1 <= len(read) < 20


def test_the_jobs_of_hundreds_of_tenants_are_let_go_in_a_handful_of_statements() -> None:
    limit("queue", "default", concurrency=400)
    crowd({f"t{number:04}": 1 for number in range(500)})

    with statements() as asked:
        assert len(let_go()) == 400

    assert len(asked) < 40


def test_a_line_that_gets_nothing_keeps_its_turn() -> None:
    for queue in ("default", "data_sync"):
        limit("queue", queue, concurrency=5)
        crowd({f"t{number:04}": 1 for number in range(60)}, queue=queue)

    assert len(let_go(most=1)) == 1

    with reading() as connection:
        turns = connection.execute(select(switches.c.turn).where(switches.c.kind == "queue")).scalars().all()
    assert sorted(turn or "" for turn in turns) == ["", "t0000"]


def test_limited_tenants_beyond_those_that_a_release_serves_come_at_the_next() -> None:
    limited_tenants(600, concurrency=1)
    crowd({f"t{number:04}": 2 for number in range(600)})

    released: list[str] = []
    for _ in range(20):
        now = let_go()
        assert len(now) <= 500
        released += now
        if len(released) == 600:
            break

    assert len(released) == 600


@pytest.mark.parametrize("beside", [("tenant", "acme", NAME), ("job", "contract.big", "contract.big")])
def test_a_limit_of_its_own_gives_nobody_more_turns_at_the_queue(beside: tuple[Any, str, str]) -> None:
    kind, name, job = beside
    limit("queue", "default", concurrency=4)
    limit(kind, name, concurrency=100)
    crowd({"acme": 60}, job)
    crowd({"b": 60, "c": 60, "d": 60})

    served: Counter[str | None] = Counter()
    for _ in range(10):
        for claim in begun():
            served[claim.tenant] += 1
            end(claim)

    assert served == {"acme": 10, "b": 10, "c": 10, "d": 10}


def test_room_at_a_tenant_lets_its_job_go_that_stands_in_a_queues_line() -> None:
    limit("queue", "data_sync", concurrency=5)
    limit("tenant", "acme", concurrency=1)
    first = a_job(tenant="acme")
    (claim,) = begun()
    second = a_job(queue="data_sync", tenant="acme")
    assert (claim.job_id, let_go()) == (first, [])

    end(claim)

    assert let_go(gates={("tenant", "acme")}) == [second]


def keep_it_for(seconds: float, *ids: str) -> None:
    for job_id in ids:
        change(job_id, reserved_at=at(-seconds))


def test_a_place_that_nobody_claims_goes_to_a_job_of_another_queue() -> None:
    limit("tenant", "acme", concurrency=2)
    stuck = some(2, queue="data_sync", tenant="acme")
    assert sorted(let_go()) == stuck
    other = a_job(tenant="acme")
    keep_it_for(10, *stuck)
    assert let_go() == []

    keep_it_for(16, *stuck)

    assert let_go() == [other]
    assert states(stuck) == ["waiting", "waiting"]
    assert len(let_go()) == 1  # What is left is theirs again.


def test_a_place_is_kept_where_only_jobs_of_the_same_queue_wait() -> None:
    limit("queue", "default", concurrency=1)
    first, _ = some(2)
    assert let_go() == [first]

    keep_it_for(3600, first)

    assert let_go() == []
    assert states([first]) == ["queued"]


def test_what_is_paused_gives_its_place_to_who_waits() -> None:
    limit("tenant", "acme", concurrency=1)
    first = a_job(queue="data_sync", tenant="acme")
    assert let_go() == [first]
    other = a_job(tenant="acme")

    pauses.pause("queue", "data_sync", actor="test")

    assert let_go() == [other]
    assert states([first]) == ["waiting"]
