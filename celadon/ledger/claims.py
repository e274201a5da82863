"""The fence: taking a job, keeping it, and every way out of `running`.

Claiming raises the job's epoch and every departure raises it again, so a write that names an old epoch finds no row.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from celadon import backoff, telemetry
from celadon.errors import LostClaim
from celadon.jobs import Claim, Failure, storable_text
from celadon.ledger import places
from celadon.ledger.alerts import raise_alert
from celadon.ledger.db import at, begin, reading
from celadon.ledger.gates import refused
from celadon.ledger.tables import attempts, jobs
from celadon.states import Outcome, State

QUEUED_NOW: Mapping[str, Any] = {"send_due": at(), "sends": 0, "queued_at": at()}
"""What every way into `queued` that does not send by itself sets in the same statement."""

NOT_HELD: Mapping[str, Any] = {"lease_until": None, "claimed_at": None, "reserved_at": None}

CLEARED: Mapping[str, Any] = {"quarantine": False, "exclusive": False}
"""A run that came to its own end clears the job of what it was suspected of."""

LATE_AT_ONCE = 2  # How often in a row a run that came too late to begin is given back at once,
LATE_FIRST, LATE_CAP = timedelta(seconds=1), timedelta(seconds=60)  # and how long it is put off from then on.
LATE_MOST = 10  # As far as it is counted.


# The statements of the busy paths are built once: building one costs more than running it.
_ID: Any = bindparam("b_id", type_=String)
_EPOCH: Any = bindparam("b_epoch", type_=Integer)
_LEASE: Any = bindparam("b_lease_s", type_=Float)
MINE = and_(jobs.c.id == _ID, jobs.c.epoch == _EPOCH, jobs.c.state == State.RUNNING.value)
"""SQL: the claim still stands. Executed with `this(claim)`."""


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


def _claim(may: Any) -> Any:
    return (
        update(jobs)
        .where(jobs.c.id == _ID, jobs.c.state == State.QUEUED.value, in_time(), ~refused(), may)
        .values(
            state=State.RUNNING.value,
            epoch=jobs.c.epoch + 1,
            claimed_by=bindparam("b_worker"),
            engine=bindparam("b_engine"),
            send_due=None,
            lease_until=at(_LEASE),
            claimed_at=at(),
            started_at=func.coalesce(jobs.c.started_at, at()),
        )
        .returning(*(jobs.c[name] for name in _OF_CLAIM))
    )


# Two statements: the looks beside a suspect would make every claim dearer by half.
_CLAIM, _CLAIM_SUSPECT = _claim(jobs.c.quarantine.is_(False)), _claim(_SUSPECT)
_FENCE = update(jobs).where(MINE).values(lease_until=at(_LEASE)).returning(jobs.c.cancel_requested)
_FENCE_OF_PROGRESS = _FENCE.values(crashes=0, deaths=0)


def this(claim: Claim) -> dict[str, Any]:
    return {"b_id": claim.job_id, "b_epoch": claim.epoch}


def claim(
    job_id: str, *, worker: str, engine: str, lease_s: float, alone: bool = False, exclusive: bool = False
) -> Claim | None:
    """Take a queued job: one statement, and a few more if it is limited. None: it is not to be had; `why_not` tells.

    alone: the caller runs it in a process of its own, so it may take a job in quarantine. exclusive: and its worker
    begins no other suspect meanwhile, so it may take one that has to be the only one.
    """
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
                place = places.take(connection, job_id, boot_of(worker) or worker, row)
    except places.WorkerIsFull:
        with begin() as connection:
            places.give_up(connection, job_id)
        return None
    if row is None:
        return None
    facts = {**row._mapping, "scope": row.scope or job_id}
    del facts["reserved_at"]
    if place is not None:
        facts["frees"] = place.frees
        facts["begin_by"] = None if place.begin_within_s is None else sent + place.begin_within_s
    return Claim(job_id=job_id, worker=worker, engine=engine, **facts)


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


def fence(connection: Connection, claim: Claim, lease_s: float, *, progress: bool = False) -> bool:
    """Assert, as the last statement before a commit, that the claim stands. Raises LostClaim.

    It locks the row until the commit, so no departure can slip in between, and it extends the lease.
    progress: what is committed brings the job on, so that its crashes are counted from here anew.
    Returns whether somebody asked for the job to be cancelled.
    """
    statement = _FENCE_OF_PROGRESS if progress else _FENCE
    held = connection.execute(statement, {**this(claim), "b_lease_s": lease_s}).one_or_none()
    if held is None:
        raise LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")
    return bool(held.cancel_requested)


def asked_to_cancel(claim: Claim) -> bool:
    """Whether somebody asked for this running job to be cancelled. Raises LostClaim."""
    with reading() as connection:
        row = connection.execute(select(jobs.c.cancel_requested).where(MINE), this(claim)).one_or_none()
    if row is None:
        raise LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")
    return bool(row.cancel_requested)


def renew(pairs: Collection[tuple[str, int]], lease_s: float) -> set[tuple[str, int]]:
    """Extend the leases of all (id, epoch) pairs in one statement. Returns those that are lost.

    Rows that are locked (finishing, or at the end of a step) are skipped, which is why the rest is looked at again
    before it is called lost.
    """
    if not pairs:
        return set()
    pair = tuple_(jobs.c.id, jobs.c.epoch)
    ours = and_(pair.in_(sorted(pairs)), jobs.c.state == State.RUNNING)
    with begin() as connection:
        locked = select(jobs.c.id).where(ours).order_by(jobs.c.id).with_for_update(skip_locked=True)
        kept = {
            (row.id, row.epoch)
            for row in connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(locked), ours)
                .values(lease_until=at(lease_s))
                .returning(jobs.c.id, jobs.c.epoch)
            )
        }
        missing = set(pairs) - kept
        if missing:
            kept |= {
                (row.id, row.epoch)
                for row in connection.execute(
                    select(jobs.c.id, jobs.c.epoch).where(pair.in_(sorted(missing)), jobs.c.state == State.RUNNING)
                )
            }
    return set(pairs) - kept


# --- the ways out of running ------------------------------------------------------------------------------------


_FINISH = (
    update(jobs)
    .where(MINE)
    .values(
        state=State.SUCCEEDED.value,
        epoch=jobs.c.epoch + 1,
        finished_at=at(),
        result=bindparam("b_result", type_=jobs.c.result.type),
        size=jobs.c.size + bindparam("b_size", type_=Integer),
        error_kind=None,
        error_message=None,
        error_fingerprint=None,
        **NOT_HELD,
        **CLEARED,
    )
    .returning(jobs.c.state, jobs.c.attempt)
)
_ATTEMPT = insert(attempts).values(ended_at=at())


def finish(claim: Claim, result: Any, result_size: int = 0) -> State:
    """running → succeeded. Raises LostClaim."""
    return _depart(claim, Outcome.SUCCEEDED, _FINISH, {"b_result": result, "b_size": result_size})


def fail(
    claim: Claim,
    failure: Failure,
    *,
    retry_in_s: float | None,
    alert_after: int,
    outcome: Outcome = Outcome.FAILED,
) -> State:
    """running → scheduled (retry_in_s) or dead (None): burns a try and raises the alerts. Raises LostClaim."""
    told = {
        "attempt": jobs.c.attempt + 1,
        "error_kind": failure.kind,
        "error_message": failure.message,
        "error_fingerprint": failure.fingerprint,
    }
    if outcome != Outcome.TIMED_OUT:
        told |= {**CLEARED, "crashes": 0, "deaths": 0}
    if retry_in_s is None:
        leave = _leave(State.DEAD, finished_at=at(), **told)
    else:
        leave = _leave(State.SCHEDULED, run_at=at(retry_in_s), **told)
    return _depart(claim, outcome, leave, {}, failure=failure, alert_after=alert_after)


def postpone(claim: Claim, seconds: float, reason: str | None = None) -> State:
    """running → scheduled, unburnt: the run could not go on for no fault of its own. Raises LostClaim.

    reason: what its attempt says in the job's timeline.
    """
    leave = _leave(State.SCHEDULED, run_at=at(seconds))
    return _depart(claim, Outcome.INTERRUPTED, leave, {}, told=reason and storable_text(reason))


def give_back(claim: Claim) -> State:
    """running → queued, unburnt: the worker stops, or the inline run is over its budget. Raises LostClaim."""
    return _depart(claim, Outcome.INTERRUPTED, _leave(State.QUEUED, **QUEUED_NOW), {})


def give_back_late(claim: Claim, reason: str) -> State:
    """running → queued, unburnt, of a run that never began; → scheduled where that has happened a few times in a row.

    Then another worker has time to take it, or this one to catch up. No window counts such a run. Raises LostClaim.
    """
    with begin() as connection:
        before = places.late_before(connection, claim, LATE_MOST)
        if before < LATE_AT_ONCE:
            leave = _leave(State.QUEUED, **QUEUED_NOW)
        else:
            again_in_s = backoff.delay_s(before + 1 - LATE_AT_ONCE, LATE_FIRST, LATE_CAP)
            leave = _leave(State.SCHEDULED, run_at=at(again_in_s))
        state = _left(connection, claim, Outcome.INTERRUPTED, leave, {}, reason).state
        places.forget(connection, claim)
    telemetry.late(claim, reason, before + 1)
    telemetry.ended(claim, Outcome.INTERRUPTED, State(state), None)
    return State(state)


def give_back_all(held: Collection[Claim]) -> int:
    """`give_back` for what a process holds as it ends, in one commit. How many; claims that are gone are left out."""
    leave, left = _leave(State.QUEUED, **QUEUED_NOW), []
    with begin() as connection:
        for claim in sorted(held, key=lambda claim: claim.job_id):
            row = connection.execute(leave, this(claim)).one_or_none()
            if row is not None:
                _record(connection, claim, Outcome.INTERRUPTED)
                left.append((claim, State(row.state)))
    for claim, state in left:
        telemetry.ended(claim, Outcome.INTERRUPTED, state, None)
    return len(left)


def sleep(claim: Claim, wake_at: datetime) -> State:
    """running → scheduled until `wake_at`, unburnt. Raises LostClaim."""
    return _depart(claim, Outcome.ASLEEP, _leave(State.SCHEDULED, run_at=wake_at, **CLEARED, crashes=0, deaths=0), {})


def end_cancelled(claim: Claim) -> State:
    """running → cancelled, as asked for. Raises LostClaim."""
    return _depart(claim, Outcome.CANCELLED, _leave(State.CANCELLED, finished_at=at()), {})


def _leave(to: State, **values: Any) -> Any:
    """The fenced UPDATE of a departure. A cancel that was asked for wins over going on."""
    state: Any = to.value
    if to in (State.QUEUED, State.SCHEDULED):
        state = case((jobs.c.cancel_requested.is_(True), State.CANCELLED.value), else_=to.value)
        values["finished_at"] = case((jobs.c.cancel_requested.is_(True), at()), else_=jobs.c.finished_at)
    values = {"state": state, "epoch": jobs.c.epoch + 1, **NOT_HELD, **values}
    return update(jobs).where(MINE).values(**values).returning(jobs.c.state, jobs.c.attempt)


def _depart(
    claim: Claim,
    outcome: Outcome,
    leave: Any,
    values: Mapping[str, Any],
    *,
    failure: Failure | None = None,
    alert_after: int = 0,
    told: str | None = None,
) -> State:
    """Run the fenced UPDATE, and record the attempt in the same transaction. Raises LostClaim."""
    with begin() as connection:
        row = _left(connection, claim, outcome, leave, values, failure.traceback if failure else told)
        if failure is not None:
            raise_alert(connection, claim, failure, State(row.state), row.attempt, alert_after)
    telemetry.ended(claim, outcome, State(row.state), failure)
    return State(row.state)


def _left(
    connection: Connection, claim: Claim, outcome: Outcome, leave: Any, values: Mapping[str, Any], error: str | None
) -> Any:
    """The departure's statements. Raises LostClaim."""
    row = connection.execute(leave, {**this(claim), **values}).one_or_none()
    if row is None:
        raise LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")
    _record(connection, claim, outcome, error)
    return row


def _record(connection: Connection, claim: Claim, outcome: Outcome, error: str | None = None) -> None:
    connection.execute(
        _ATTEMPT,
        {
            "job_id": claim.job_id,
            "epoch": claim.epoch,
            "number": claim.attempt + 1,
            "worker": claim.worker,
            "engine": claim.engine,
            "started_at": claim.claimed_at,
            "outcome": outcome,
            "error": error,
        },
    )
