"""Claiming: queued → running, which raises the job's epoch; keeping it (fencing.py) and its ends (departures.py)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Connection, String, and_, bindparam, exists, func, or_, select, update

from celadon.jobs import Claim
from celadon.ledger import places
from celadon.ledger.db import at, begin, reading
from celadon.ledger.departures import (
    end_cancelled,
    fail,
    finish,
    give_back,
    give_back_all,
    give_back_late,
    postpone,
    sleep,
)
from celadon.ledger.fencing import ID, LEASE, asked_to_cancel, fence, renew
from celadon.ledger.gates import refused
from celadon.ledger.tables import TENANT, jobs
from celadon.ledger.together import Alone, Together
from celadon.states import State

__all__ = [
    "WhyNot",
    "asked_to_cancel",
    "boot_of",
    "claim",
    "end_cancelled",
    "fail",
    "fence",
    "finish",
    "give_back",
    "give_back_all",
    "give_back_late",
    "in_time",
    "postpone",
    "renew",
    "sleep",
    "why_not",
]


# The statements of the busy paths are built once: building one costs more than running it.
def in_time() -> Any:
    """SQL: the job has not expired. What has begun once does not expire any more."""
    return or_(jobs.c.expires_at.is_(None), jobs.c.started_at.is_not(None), jobs.c.expires_at > at())


_SUSPECT_LOCKS = 7_204_417  # The class of the locks that serialize the claims of one worker's suspects.
_BESIDE = jobs.alias("beside")


def _beside(suspect: Any) -> Any:
    """SQL: such a suspect runs in the same worker, in another process of it."""
    of_my_worker = _BESIDE.c.claimed_by.like(bindparam("b_of_my_worker", type_=String))
    return exists().where(suspect, _BESIDE.c.state == State.RUNNING.value, of_my_worker)


# Jobs in quarantine run in processes of their own, side by side; one that is exclusive runs beside no other suspect.
_SUSPECT = or_(
    and_(bindparam("b_alone", type_=Boolean).is_(True), jobs.c.exclusive.is_(False), ~_beside(_BESIDE.c.exclusive)),
    and_(bindparam("b_exclusive", type_=Boolean).is_(True), ~_beside(_BESIDE.c.quarantine)),
)
_OF_CLAIM = [
    *("epoch", "name", "queue", "payload", "scope", "attempt", "max_attempts", "tenant", "trace", "schedule"),
    *("created_at", "queued_at", "run_at", "claimed_at", "reserved_at"),
]


def _claim(which: Any, may: Any) -> Any:
    return (
        update(jobs)
        .where(which, jobs.c.state == State.QUEUED.value, in_time(), ~refused(), may)
        .values(
            state=State.RUNNING.value,
            epoch=jobs.c.epoch + 1,
            claimed_by=bindparam("b_worker"),
            engine=bindparam("b_engine"),
            send_due=None,
            lease_until=at(LEASE),
            claimed_at=at(),
            started_at=func.coalesce(jobs.c.started_at, at()),
        )
        .returning(jobs.c.id, *(jobs.c[name] for name in _OF_CLAIM))
    )


# Two statements: the looks beside a suspect would make every claim dearer by half.
_CLAIM, _CLAIM_SUSPECT = _claim(jobs.c.id == ID, jobs.c.quarantine.is_(False)), _claim(jobs.c.id == ID, _SUSPECT)
_IDS: Any = jobs.c.id.in_(bindparam("b_ids", expanding=True))
_CLAIM_ALL = _claim(_IDS, jobs.c.quarantine.is_(False))
# Whoever has locked one of them would hold up all.
_TO_BE_HAD = (
    select(jobs.c.id, jobs.c.queue, jobs.c.name, TENANT.label("tenant"))
    .where(_IDS, jobs.c.state == State.QUEUED.value)
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True)
)


class _Asked(NamedTuple):
    """What a claim is asked for with."""

    job_id: str
    worker: str
    engine: str
    lease_s: float


def claim(
    job_id: str, *, worker: str, engine: str, lease_s: float, alone: bool = False, exclusive: bool = False
) -> Claim | None:
    """Take a queued job: one statement, and a few more if it is limited. None: it is not to be had; `why_not` tells.

    alone: the caller runs it in a process of its own, so it may take a job in quarantine. exclusive: and its worker
    begins no other suspect meanwhile, so it may take one that has to be the only one. What the threads of a process
    claim at the same moment they claim together. Raises LedgerUnavailable.
    """
    asked = _Asked(job_id, worker, engine, lease_s)
    return _one(asked, alone=alone, exclusive=exclusive) if alone or exclusive else _together(asked)


def _one(of: _Asked, *, alone: bool = False, exclusive: bool = False) -> Claim | None:
    job_id, worker, engine, lease_s = of
    asked = {"b_id": job_id, "b_worker": worker, "b_engine": engine, "b_lease_s": lease_s}
    place = None
    try:
        with begin() as connection:
            sent = time.monotonic()  # Only now: what waits for a write lock waits at the beginning.
            row = connection.execute(_CLAIM, asked).one_or_none()
            if row is None and (alone or exclusive):
                _one_suspect_at_a_time(connection, boot_of(worker))
                asked |= {"b_of_my_worker": f"{boot_of(worker)}:%", "b_alone": alone, "b_exclusive": exclusive}
                row = connection.execute(_CLAIM_SUSPECT, asked).one_or_none()
            if row is not None and row.reserved_at is not None:
                place = places.take(connection, boot_of(worker) or worker, row)
    except places.WorkerIsFull:
        with begin() as connection:
            places.give_up(connection, job_id)
        return None
    return None if row is None else _made(row, of, place, sent)


def _made(row: Any, of: _Asked, place: places.Place | None, sent: float) -> Claim:
    facts = {**row._mapping, "scope": row.scope or row.id}
    del facts["reserved_at"], facts["id"]
    if place is not None:
        facts["frees"] = place.frees
        facts["begin_by"] = None if place.begin_within_s is None else sent + place.begin_within_s
    return Claim(job_id=row.id, worker=of.worker, engine=of.engine, **facts)


def _many(asked: Sequence[_Asked]) -> list[Claim | Alone | None]:
    """Claim what several threads of one worker ask for; what is not plainly to be had is left to `_one`."""
    first = asked[0]
    ids = {one.job_id for one in asked if one[1:] == first[1:]}
    claimed: dict[str, Claim] = {}
    with begin() as connection:
        found = connection.execute(_TO_BE_HAD, {"b_ids": list(ids)}).all()
        placing = places.Placing(connection, found)
        plain = [row.id for row in found if not placing.by_worker(row)]
        told = {"b_worker": first.worker, "b_engine": first.engine, "b_lease_s": first.lease_s}
        sent = time.monotonic()
        rows = connection.execute(_CLAIM_ALL, {"b_ids": plain, **told}).all()
        taken = placing.take_all([row for row in rows if row.reserved_at is not None])
        claimed = {row.id: _made(row, first, taken.get(row.id), sent) for row in rows}
    # Who asks for the same job twice gets it once.
    return [(claimed.pop(one.job_id, None) if one[1:] == first[1:] else None) or Alone() for one in asked]


_together: Together[_Asked, Claim | None] = Together(_one, _many)


def _one_suspect_at_a_time(connection: Connection, boot: str) -> None:
    """Have the claims of a worker's suspects come one after the other, so that each sees those before."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SUSPECT_LOCKS, func.hashtext(boot))))


def boot_of(worker: str) -> str:
    """Which start of which worker a process belongs to, of its name in `claimed_by`."""
    return worker.rpartition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyNot:
    """Why a claim failed."""

    state: State | None  # None: there is no such job.
    claimed_by: str | None = None
    quarantine: bool = False
    held: bool = False


def why_not(job_id: str) -> WhyNot:
    with reading() as connection:
        row = connection.execute(
            select(
                jobs.c.state,
                jobs.c.claimed_by,
                jobs.c.quarantine,
                refused().label("held"),
            ).where(jobs.c.id == job_id)
        ).one_or_none()
    if row is None:
        return WhyNot(state=None)
    return WhyNot(
        state=State(row.state),
        claimed_by=row.claimed_by,
        quarantine=row.quarantine,
        held=bool(row.held),
    )
