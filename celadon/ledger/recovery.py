"""Jobs whose runner is gone: leases that ran out, processes seen dead."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from celadon import telemetry
from celadon.jobs import Recovered
from celadon.ledger.alerts import write_alert
from celadon.ledger.blame import TOGETHER_LIMIT, Death, judge, last_of
from celadon.ledger.claims import in_time
from celadon.ledger.db import at, begin, by, reading
from celadon.ledger.departures import NOT_HELD, QUEUED_NOW
from celadon.ledger.gates import refused
from celadon.ledger.tables import attempts, in_state, jobs
from celadon.settings import settings
from celadon.states import Outcome, State


@dataclass(frozen=True, slots=True)
class Suspect:
    job_id: str
    exclusive: bool  # Runs beside no other suspect.


def reap(*, amnesty_until: datetime | None = None, limit: int = 200) -> list[Recovered]:
    """Put jobs whose lease has run out back to `queued` (or end them).

    amnesty_until: leases that ran out before it were lost while the ledger was away. Nobody crashed.
    """
    return _recover(jobs.c.lease_until < by(), death=Death.UNSEEN, amnesty_until=amnesty_until, limit=limit)


def release_dead(worker: str, *, in_company: bool = False) -> list[Recovered]:
    """Recover what a process held that was seen to be dead: `worker` is its name in `claimed_by`.

    in_company: it was killed from outside, and other processes with jobs of their own were there to be killed.
    """
    death = Death.IN_COMPANY if in_company else Death.OWN
    return _recover(jobs.c.claimed_by == worker, death=death, limit=1000)


def holds(worker: str) -> bool:
    """Whether a process still holds a job: a row that was locked when `release_dead` came by."""
    with reading() as connection:
        held = select(jobs.c.id).where(jobs.c.state == State.RUNNING, jobs.c.claimed_by == worker).limit(1)
        return connection.execute(held).first() is not None


def suspects(queues: Collection[str], names: Collection[str], limit: int) -> list[Suspect]:
    """Queued jobs of these queues and names that have to run alone: first those that may run side by side."""
    with reading() as connection:
        rows = connection.execute(
            select(jobs.c.id, jobs.c.exclusive)
            .where(
                jobs.c.quarantine,
                # Not in the words of the index of what is queued: PostgreSQL would take that one, and read the whole
                # backlog, until it has statistics that tell how rare suspects are.
                func.coalesce(jobs.c.state, "") == State.QUEUED,
                jobs.c.queue.in_(sorted(queues)),
                jobs.c.name.in_(sorted(names)),
                in_time(),
                ~refused(),
            )
            # Those convicted least, and of these the oldest: nobody is tried again before all have been.
            .order_by(jobs.c.exclusive, jobs.c.crashes, jobs.c.id)
            .limit(limit)
        )
        return [Suspect(row.id, row.exclusive) for row in rows]


def some_fell_silent(queues: Collection[str], lease_s: float, *, missed: float = 2.0) -> bool:
    """Whether a job of these queues runs whose lease was not renewed for so many times RENEW_S."""
    with reading() as connection:
        silent = select(jobs.c.id).where(
            in_state(State.RUNNING),
            jobs.c.lease_until < by(lease_s - missed * settings().renew_s),
            jobs.c.queue.in_(sorted(queues)),
        )
        return connection.execute(silent.limit(1)).first() is not None


def _recover(which: Any, *, death: Death, limit: int, amnesty_until: datetime | None = None) -> list[Recovered]:
    with begin() as connection:
        rows = connection.execute(
            select(jobs)
            .where(in_state(State.RUNNING), which)
            .order_by(jobs.c.lease_until)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        recovered = [_crashed(connection, row, _known(connection, row, death, amnesty_until)) for row in rows]
    for one in recovered:
        telemetry.recovered(one)
    return recovered


def _known(connection: Connection, row: Any, death: Death, amnesty_until: datetime | None) -> Death:
    """What is known of one row's end beyond what is known of all."""
    if amnesty_until is not None and row.lease_until < amnesty_until:
        return Death.LEDGER_AWAY
    return last_of(connection, row.id, row.claimed_by) if death is Death.UNSEEN and row.exclusive else death


def _crashed(connection: Connection, row: Any, death: Death) -> Recovered:
    outcome = Outcome.LOST if death is Death.LEDGER_AWAY else Outcome.CRASHED
    verdict = judge(death, quarantine=row.quarantine, exclusive=row.exclusive)
    crashes, deaths = row.crashes + verdict.guilty, row.deaths + verdict.counts
    values: dict[str, Any] = {
        "crashes": crashes,
        "deaths": deaths,
        "quarantine": verdict.quarantine,
        "exclusive": verdict.exclusive,
    }
    alone, together = crashes >= settings().crash_limit, deaths >= TOGETHER_LIMIT * settings().crash_limit
    cause = (
        f"what ran it died {crashes} times, and nothing else can have done it"
        if alone
        else f"what ran it died {deaths} times in a row, though never it alone"
    )
    if row.cancel_requested:
        state = State.CANCELLED
        values["finished_at"] = at()
    elif alone or together:
        state = State.DEAD
        values |= {
            "finished_at": at(),
            "error_kind": "CrashLimit",
            "error_message": f"Crash limit: {cause}",
            "error_fingerprint": "crash-limit",
        }
    else:
        state = State.QUEUED
        values |= QUEUED_NOW
    connection.execute(
        update(jobs)
        .where(and_(jobs.c.id == row.id, jobs.c.epoch == row.epoch))
        .values(state=state, epoch=jobs.c.epoch + 1, **NOT_HELD, **values)
    )
    connection.execute(
        insert(attempts).values(
            job_id=row.id,
            epoch=row.epoch,
            number=row.attempt + 1,
            worker=row.claimed_by,
            engine=row.engine,
            started_at=row.claimed_at,
            ended_at=at(),
            outcome=outcome,
            error=f"{death.value} (lease until {row.lease_until:%H:%M:%S.%f} UTC)",
        )
    )
    if state == State.DEAD:
        write_alert(
            connection, row.id, "dead", row.name, f"is dead after {crashes if alone else deaths} crashes", cause
        )
    return Recovered(
        job_id=row.id,
        name=row.name,
        queue=row.queue,
        schedule=row.schedule,
        worker=row.claimed_by,
        outcome=outcome,
        state=state,
    )
