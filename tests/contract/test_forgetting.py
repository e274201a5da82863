"""Forgetting starts: each is kept for the windows it stands in, and they go in parts."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from celadon.ids import new_id
from celadon.ledger import forgetting
from celadon.ledger.db import at, begin, reading
from celadon.ledger.forgetting import forget_starts
from celadon.ledger.gates import Standing
from celadon.ledger.tables import starts
from celadon.limits import Limit
from tests.contract.given import count
from tests.contract.limiting import limit

pytestmark = pytest.mark.usefixtures("ledger")

HOUR_S, DAY_S = 3600.0, 86_400.0


def some_starts(
    many: int, seconds_ago: float, name: str = "busy", queue: str = "default", tenant: str = "acme"
) -> None:
    facts = {"epoch": 1, "name": name, "queue": queue, "tenant": tenant}
    with begin() as connection:
        connection.execute(
            insert(starts).values(at=at(-seconds_ago)), [{"job_id": new_id(), **facts} for _ in range(many)]
        )


def of(name: str) -> int:
    return count(starts, starts.c.name == name)


def test_a_long_window_of_one_job_does_not_keep_the_starts_of_another() -> None:
    limit("job", "rare", starts=5, per_s=DAY_S)
    limit("job", "busy", starts=500, per_s=1)
    some_starts(3, HOUR_S, "rare")
    some_starts(7, HOUR_S, "busy")
    some_starts(2, 30, "busy")  # No window sees them; but one that is set now may.

    assert forget_starts() == 7
    assert (of("rare"), of("busy")) == (3, 2)


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("job", "busy"), ("tenant", "acme")])
def test_a_start_is_kept_for_the_longest_window_that_it_stands_in(kind, name) -> None:
    limit("job", "busy", starts=500, per_s=1)
    limit(kind, name, starts=9, per_s=HOUR_S)
    some_starts(1, HOUR_S - 60)
    some_starts(1, 3 * HOUR_S)
    some_starts(1, HOUR_S - 60, "other", "data_sync", "other")

    assert forget_starts() == 2
    assert of("busy") == 1


def test_starts_of_no_limit_any_more_are_forgotten() -> None:
    some_starts(2, 90)

    assert forget_starts() == 2


def test_they_go_in_parts_and_a_turn_goes_on_behind_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "BATCH", 3)
    monkeypatch.setattr(forgetting, "ROUNDS", 2)
    limit("job", "rare", starts=50, per_s=DAY_S)
    for n in range(8):
        some_starts(1, 8_000 - n, "rare")
    for n in range(8):
        some_starts(1, 7_000 - n, "busy")

    assert [forget_starts() for _ in range(4)] == [0, 4, 4, 0]
    assert (of("rare"), of("busy")) == (8, 0)


def test_the_starts_of_a_thousand_tenants_are_forgotten_with_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (Limit(starts=5, per_s=HOUR_S),)
    many = [Standing(kind="tenant", name=f"tenant-{n}", paused=False, rules=rules, turn="") for n in range(1_500)]
    monkeypatch.setattr(forgetting, "standing", lambda _: many)
    some_starts(1, HOUR_S, tenant="tenant-1499")
    some_starts(1, HOUR_S, tenant="other")

    assert forget_starts() == 1
    with reading() as connection:
        assert connection.execute(starts.select()).one().tenant == "tenant-1499"
