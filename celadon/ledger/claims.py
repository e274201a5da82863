"""The fence: taking a job, keeping it, and every way out of `running`.

Claiming raises the job's epoch and every departure raises it again, so a write that names an old epoch finds no row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, insert, or_, select, tuple_, update

from celadon.errors import LostClaim
from celadon.jobs import Claim, Failure
from celadon.ledger.alerts import raise_alert
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import attempts, jobs
from celadon.ledger.writing import paused
from celadon.states import Outcome, State

QUEUED_NOW: Mapping[str, Any] = {"send_due": at(), "sends": 0, "queued_at": at()}
"""What every way into `queued` that does not send by itself sets in the same statement."""

NOT_HELD: Mapping[str, Any] = {"lease_until": None, "claimed_at": None}


def claim(job_id: str, *, worker: str, engine: str, lease_s: float, alone: bool = False) -> Claim | None:
    """Take a queued job: one statement. None if it is not to be had; `why_not` tells.

    alone: the caller runs it in a process of its own, so it may take a job in quarantine.
    """
    free = and_(
        jobs.c.id == job_id,
        jobs.c.state == State.QUEUED,
        or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > at()),
        ~paused(),
    )
    if not alone:
        free = and_(free, jobs.c.quarantine.is_(False))
    with begin() as connection:
        row = connection.execute(
            update(jobs)
            .where(free)
            .values(
                state=State.RUNNING,
                epoch=jobs.c.epoch + 1,
                claimed_by=worker,
                engine=engine,
                send_due=None,
                lease_until=at(lease_s),
                claimed_at=at(),
                started_at=case((jobs.c.started_at.is_(None), at()), else_=jobs.c.started_at),
            )
            .returning(
                jobs.c.epoch,
                jobs.c.name,
                jobs.c.queue,
                jobs.c.payload,
                jobs.c.scope,
                jobs.c.attempt,
                jobs.c.max_attempts,
                jobs.c.tenant,
                jobs.c.trace,
                jobs.c.claimed_at,
            )
        ).one_or_none()
    if row is None:
        return None
    return Claim(
        job_id=job_id,
        epoch=row.epoch,
        name=row.name,
        queue=row.queue,
        payload=row.payload,
        scope=row.scope or job_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        worker=worker,
        engine=engine,
        claimed_at=row.claimed_at,
        tenant=row.tenant,
        trace=row.trace,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyNot:
    """Why a claim failed."""

    state: State | None  # None: there is no such job.
    claimed_by: str | None = None
    quarantine: bool = False
    held: bool = False
    expired: bool = False


def why_not(job_id: str) -> WhyNot:
    with reading() as connection:
        row = connection.execute(
            select(
                jobs.c.state,
                jobs.c.claimed_by,
                jobs.c.quarantine,
                paused().label("held"),
                and_(jobs.c.expires_at.is_not(None), jobs.c.expires_at <= at()).label("expired"),
            ).where(jobs.c.id == job_id)
        ).one_or_none()
    if row is None:
        return WhyNot(state=None)
    return WhyNot(
        state=State(row.state),
        claimed_by=row.claimed_by,
        quarantine=row.quarantine,
        held=bool(row.held),
        expired=bool(row.expired),
    )


def mine(claim: Claim) -> Any:
    """SQL: the claim still stands."""
    return and_(jobs.c.id == claim.job_id, jobs.c.epoch == claim.epoch, jobs.c.state == State.RUNNING)


def fence(connection: Connection, claim: Claim, lease_s: float) -> bool:
    """Assert, as the last statement before a commit, that the claim stands. Raises LostClaim.

    It locks the row until the commit, so no departure can slip in between, and it extends the lease.
    Returns whether somebody asked for the job to be cancelled.
    """
    held = connection.execute(
        update(jobs).where(mine(claim)).values(lease_until=at(lease_s)).returning(jobs.c.cancel_requested)
    ).one_or_none()
    if held is None:
        raise LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")
    return bool(held.cancel_requested)


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


def finish(claim: Claim, result: Any, result_size: int = 0) -> State:
    """running → succeeded. Raises LostClaim."""
    return _depart(
        claim,
        State.SUCCEEDED,
        Outcome.SUCCEEDED,
        finished_at=at(),
        result=result,
        size=jobs.c.size + result_size,
        error_kind=None,
        error_message=None,
        error_fingerprint=None,
    )


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
    if retry_in_s is None:
        return _depart(claim, State.DEAD, outcome, failure=failure, alert_after=alert_after, finished_at=at(), **told)
    return _depart(
        claim,
        State.SCHEDULED,
        outcome,
        failure=failure,
        alert_after=alert_after,
        run_at=at(retry_in_s),
        **told,
    )


def give_back(claim: Claim) -> State:
    """running → queued, unburnt: the worker stops, or the inline run is over its budget. Raises LostClaim."""
    return _depart(claim, State.QUEUED, Outcome.INTERRUPTED, **QUEUED_NOW)


def sleep(claim: Claim, wake_at: datetime) -> State:
    """running → scheduled until `wake_at`, unburnt. Raises LostClaim."""
    return _depart(claim, State.SCHEDULED, Outcome.ASLEEP, run_at=wake_at)


def end_cancelled(claim: Claim) -> State:
    """running → cancelled, as asked for. Raises LostClaim."""
    return _depart(claim, State.CANCELLED, Outcome.CANCELLED, finished_at=at())


def _depart(
    claim: Claim,
    to: State,
    outcome: Outcome,
    *,
    failure: Failure | None = None,
    alert_after: int = 0,
    **values: Any,
) -> State:
    """The fenced UPDATE, and the attempt's record in the same transaction. A cancel asked for wins over going on."""
    state: Any = to
    if to in (State.QUEUED, State.SCHEDULED):
        state = case((jobs.c.cancel_requested.is_(True), State.CANCELLED.value), else_=to.value)
        values["finished_at"] = case((jobs.c.cancel_requested.is_(True), at()), else_=jobs.c.finished_at)
    with begin() as connection:
        row = connection.execute(
            update(jobs)
            .where(mine(claim))
            .values(state=state, epoch=jobs.c.epoch + 1, **{**NOT_HELD, **values})
            .returning(jobs.c.state, jobs.c.attempt)
        ).one_or_none()
        if row is None:
            raise LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")
        record_attempt(connection, claim, outcome, failure.traceback if failure else None)
        if failure is not None:
            raise_alert(connection, claim, failure, State(row.state), row.attempt, alert_after)
    return State(row.state)


def record_attempt(connection: Connection, claim: Claim, outcome: Outcome, error: str | None) -> None:
    connection.execute(
        insert(attempts).values(
            job_id=claim.job_id,
            epoch=claim.epoch,
            number=claim.attempt + 1,
            worker=claim.worker,
            engine=claim.engine,
            started_at=claim.claimed_at,
            ended_at=at(),
            outcome=outcome,
            error=error,
        )
    )
