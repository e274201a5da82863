"""What tests begin with: jobs in the ledger, claims on them, and the rows that came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Row, Table, event, func, select, update

from celadon import deadline
from celadon.ids import new_id
from celadon.jobs import AnswerView, Claim, Failure, NewJob, RequestView
from celadon.ledger import claims, deliveries, moving
from celadon.ledger.db import at, begin, engine, reading
from celadon.ledger.operating import cancel
from celadon.ledger.tables import jobs
from celadon.ledger.writing import insert_job
from celadon.states import State

T = TypeVar("T")

# For what SQLite's single writer rules out.
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)

NAME = "contract.job"
WORKER = "host:boot:1"
OTHER = "host:boot:2"
LEASE_S = 30.0
FAILURE = Failure(kind="ValueError", message="no", traceback="Traceback: no", fingerprint="f" * 16)


def new_job(name: str = NAME, **facts: Any) -> NewJob:
    """A job to be stored."""
    return NewJob(
        **{"id": new_id(), "name": name, "queue": "default", "payload": {}, "size": 2, "max_attempts": 5, **facts}
    )


def store(new: NewJob) -> tuple[str, State, bool]:
    """Store it in a transaction of its own."""
    with begin() as connection:
        return insert_job(connection, new)


def a_job(name: str = NAME, **facts: Any) -> str:
    """The id of a job that was stored just now, `queued` unless said otherwise."""
    return store(new_job(name, **facts))[0]


def a_claim(
    job_id: str | None = None,
    *,
    worker: str = WORKER,
    lease_s: float = LEASE_S,
    exclusive: bool = False,
    **facts: Any,
) -> Claim:
    """A claim on the job, or on a new one."""
    job_id = job_id or a_job(**facts)
    claim = claims.claim(
        job_id, worker=worker, engine="worker", lease_s=lease_s, alone=not exclusive, exclusive=exclusive
    )
    assert claim is not None
    return claim


def a_job_that_is(state: State, name: str = NAME) -> str:
    """A job brought into a state by the ledger's own operations."""
    if state == State.SCHEDULED:
        return a_job(name, state=State.SCHEDULED, delay_s=3600.0)
    job_id = a_job(name)
    if state == State.WAITING:
        moving.hold(job_id)
    elif state == State.PARKED:
        moving.park(job_id)
    elif state == State.CANCELLED:
        cancel(job_id)
    elif state == State.RUNNING:
        a_claim(job_id)
    elif state == State.SUCCEEDED:
        claims.finish(a_claim(job_id), None)
    elif state == State.DEAD:
        claims.fail(a_claim(job_id), FAILURE, retry_in_s=None, alert_after=3)
    assert row(job_id).state == state
    return job_id


def a_dead_letter(queue: str = "email") -> str:
    """A job that another service refused: dead, with what was sent and what came back."""
    claim = a_claim(name="delegation.deliver", queue=queue, payload={"data": {"to": "ada"}})
    sent = RequestView(
        method="POST",
        url="http://mail/jobs",
        headers={"Accept": "*/*", "webhook-signature": deliveries.MASKED},
        body='{"to":"ada"}',
    )
    got = AnswerView(status=422, headers={"server": "x"}, body='{"error": "no such address"}')
    deliveries.keep(claim, verdict="mail: no such address", seconds=0.1, request=sent, answer=got)
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)
    return claim.job_id


def claim_as_of_now(job_id: str) -> Claim:
    """A claim that names the epoch of the row as it is, whether or not anybody holds it."""
    return replace(a_claim(), job_id=job_id, scope=job_id, epoch=row(job_id).epoch)


def settle() -> None:
    """Wait until what its callers gave up has come to its end."""
    deadline._executor().shutdown()
    deadline.reset()


def row(job_id: str) -> Row[Any]:
    with reading() as connection:
        return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()


def count(table: Table, *which: Any) -> int:
    with reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*which)).scalar_one())


def change(job_id: str, **values: Any) -> None:
    """Change a row behind the ledger's back, as time or a fault would."""
    with begin() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def let_its_lease_run_out(job_id: str) -> None:
    change(job_id, lease_until=at(-1))


@contextmanager
def after_a_statement(words: str, act: Callable[[Connection], object]) -> Iterator[None]:
    """Call `act`, once, when a statement with these words has run: in the midst of what the block does."""
    acted = False

    def ran(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        nonlocal acted
        if words in statement and not acted:
            acted = True
            act(connection)

    event.listen(engine(), "after_cursor_execute", ran)
    try:
        yield
    finally:
        event.remove(engine(), "after_cursor_execute", ran)


def race(runners: int, act: Callable[[int], T]) -> list[T]:
    """Call `act(0)`, `act(1)` … at the same moment, each in a thread of its own; their results in that order."""
    start = Barrier(runners)

    def run(number: int) -> T:
        start.wait(10)
        return act(number)

    with ThreadPoolExecutor(runners) as pool:
        return list(pool.map(run, range(runners)))
