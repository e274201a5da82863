"""A scheduler that stands still in the midst of a transaction (stopped, or its host is gone) stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select, update

import tests.contract.jobs  # noqa: F401 (declares the jobs that schedules name)
from celadon import firing, schedules
from celadon.errors import LedgerUnavailable
from celadon.ledger import limits, releasing
from celadon.ledger.db import at, begin
from celadon.ledger.tables import schedules as table
from celadon.limits import Limit
from tests.contract.given import NAME, ON_POSTGRESQL, a_job, race
from tests.eventually import eventually

pytestmark = [pytest.mark.usefixtures("ledger"), ON_POSTGRESQL]


def a_schedule_that_is_due(name: str) -> None:
    schedules.add(name, "contract.inline", payload={"word": "w"}, every=3600)
    with begin() as connection:
        connection.execute(update(table).where(table.c.name == name).values(next_due=at(-60), last_due=at(-61)))


@contextmanager
def a_scheduler_that_stands_still_as_it_fires(name: str) -> Iterator[None]:
    with begin() as connection:
        connection.execute(select(table).where(table.c.name == name).with_for_update())
        yield


def test_it_keeps_the_one_schedule_that_it_fires_and_no_other() -> None:
    a_schedule_that_is_due("kept")
    a_schedule_that_is_due("free")
    with a_scheduler_that_stands_still_as_it_fires("kept"):
        assert sum(race(2, lambda _: firing.fire_due().fired)) == 1
    assert firing.fire_due().fired == 1


def test_its_lock_over_all_releases_is_taken_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    limits.set_limits("job", NAME, [Limit(concurrency=1)], actor="test")
    a_job()
    monkeypatch.setattr(releasing, "STANDS_STILL_S", 0.2)
    with pytest.raises(LedgerUnavailable), begin() as connection:
        releasing.lock(connection)
        assert limits.release() == []
        eventually("the job is released by somebody else", limits.release, within=5)
        connection.execute(select(1))
