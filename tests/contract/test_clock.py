"""All times are the database's own: no host's clock is written into the ledger."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text

from celadon.ledger import alerts, claims, marks, moving, presence, recovery, retention, sending
from celadon.ledger.db import at, begin, clock, engine, reading
from celadon.states import State
from tests.contract.given import FAILURE, LEASE_S, WORKER, a_claim, a_job, let_its_lease_run_out, row
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def sent() -> Iterator[list[object]]:
    """Every value that this process sends to the database."""
    values: list[object] = []

    def remember(_c: Any, _cursor: Any, _statement: str, parameters: Any, *_: Any) -> None:
        rows = parameters if isinstance(parameters, list) else [parameters]
        for one in rows:
            values.extend(one.values() if isinstance(one, dict) else one)

    event.listen(engine(), "before_cursor_execute", remember)
    yield values
    event.remove(engine(), "before_cursor_execute", remember)


def is_time(value: object) -> bool:
    return isinstance(value, datetime) or bool(re.match(r"\d{4}-\d\d-\d\d[ T]", str(value)))


ACTS: dict[str, Callable[[], object]] = {
    "store": lambda: a_job(expires_in_s=9.0, key="k", payload_hash="h"),
    "store for later": lambda: a_job(state=State.SCHEDULED, delay_s=9.0),
    "claim and finish": lambda: claims.finish(a_claim(), None),
    "fail": lambda: claims.fail(a_claim(), FAILURE, retry_in_s=9, alert_after=1),
    "give back": lambda: claims.give_back(a_claim()),
    "renew": lambda: claims.renew([("x", 1)], 9),
    "step": lambda: marks.start(a_claim(), "step", "key", LEASE_S),
    "sleep": lambda: marks.start_sleep(a_claim(), "nap", "key", 9, LEASE_S),
    "promote": moving.promote,
    "expire": moving.expire,
    "reap": recovery.reap,
    "release the dead": lambda: (a_claim(), recovery.release_dead(WORKER)),
    "send": sending.take_unsent,
    "postpone": lambda: claims.postpone(a_claim(), 9),
    "prune": lambda: retention.prune("x", keep=1, keep_for=timedelta(1), keep_bytes=1, keep_dead_for=timedelta(1)),
    "forget what operators did": retention.forget_audit,
    "backlog": sending.backlog,
    "alert of a backlog": lambda: alerts.write_backlog_alert(3, 90.0, "connection refused"),
    "forget keys": retention.forget_keys,
    "alerts": alerts.unsent,
    "alive": presence.alive,
    "forget workers": presence.forget,
}


@pytest.mark.parametrize("act", ACTS)
def test_no_host_sends_its_own_time(act, sent):
    ACTS[act]()

    # A departure sends one back that it read before: the start of the attempt, as the claim told it.
    read_before = act in ("claim and finish", "fail", "give back", "postpone", "release the dead")
    assert len([value for value in sent if is_time(value)]) == int(read_before)


def test_the_clock_goes_on_inside_a_transaction():
    with begin() as connection:
        first = clock(connection)

        later = eventually("the database's clock moves", lambda: moved(connection, first))

    assert later > first


def moved(connection: Any, first: datetime) -> datetime | None:
    now = clock(connection)
    return now if now > first else None


@pytest.mark.parametrize("seconds", [0, 0.25, -0.25, 1e-5, 59.999, -3600, 7 * 86400, 10 * 365 * 86400])
def test_an_offset_of_any_size_is_added_to_the_databases_clock(seconds):
    with reading() as connection:
        now, then = connection.execute(select(at(), at(seconds))).one()

    assert abs((then - now).total_seconds() - seconds) < 0.05


def test_times_are_told_in_utc_whatever_the_zone_of_the_session(ledger):
    with begin() as connection:
        if ledger.startswith("postgresql"):
            connection.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        now = clock(connection)

    assert now.tzinfo is UTC
    assert abs(now.timestamp() - time.time()) < 60


def test_the_ledger_compares_times_with_the_clock_of_the_moment_not_of_the_transactions_begin():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)

    with begin() as connection:
        begun = clock(connection)
        connection.execute(select(1))
        eventually("some time passes", lambda: moved(connection, begun))
        claims.fence(connection, claim, LEASE_S)

    assert row(claim.job_id).lease_until > begun + timedelta(seconds=LEASE_S)
    assert recovery.reap() == []
