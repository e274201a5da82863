"""Every way out of `running`: each raises the job's epoch and records the attempt, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, case, insert, select, update

from celadon import backoff, telemetry
from celadon.jobs import Claim, Failure, storable_text
from celadon.ledger import places
from celadon.ledger.alerts import raise_alert
from celadon.ledger.db import at, begin
from celadon.ledger.fencing import MINE, lost, this
from celadon.ledger.tables import attempts, jobs
from celadon.ledger.together import Alone, Together
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
_FINISH_ALL = (
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
)
_FINISH = _FINISH_ALL.returning(jobs.c.state, jobs.c.attempt)
# Whoever has locked one of them would hold up all.
_TO_LEAVE = (
    select(jobs.c.id, jobs.c.epoch)
    .where(jobs.c.id.in_(bindparam("b_ids", expanding=True)), jobs.c.state == State.RUNNING.value)
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True)
)
_ATTEMPT = insert(attempts).values(ended_at=at())


@dataclass(frozen=True, eq=False, slots=True)
class _Finish:
    claim: Claim
    result: Any
    size: int

    @property
    def bound(self) -> dict[str, Any]:
        return {**this(self.claim), "b_result": self.result, "b_size": self.size}


def finish(claim: Claim, result: Any, result_size: int = 0) -> State:
    """running → succeeded. What the threads of a process finish at the same moment is finished together.

    Raises LostClaim.
    """
    state = _together(_Finish(claim, result, result_size))
    telemetry.ended(claim, Outcome.SUCCEEDED, state, None)
    return state


def _one(asked: _Finish) -> State:
    with begin() as connection:
        return State(_left(connection, asked.claim, Outcome.SUCCEEDED, _FINISH, asked.bound, None).state)


def _many(asked: Sequence[_Finish]) -> list[State | Alone]:
    with begin() as connection:
        rows = connection.execute(_TO_LEAVE, {"b_ids": [one.claim.job_id for one in asked]})
        ours = {(row.id, row.epoch) for row in rows}
        plain = [one for one in asked if (one.claim.job_id, one.claim.epoch) in ours]
        if plain:
            connection.execute(_FINISH_ALL, [one.bound for one in plain])
            connection.execute(_ATTEMPT, [_attempt(one.claim, Outcome.SUCCEEDED) for one in plain])
    return [State.SUCCEEDED if one in plain else Alone() for one in asked]


_together: Together[_Finish, State] = Together(_one, _many)


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
        raise lost(claim)
    _record(connection, claim, outcome, error)
    return row


def _record(connection: Connection, claim: Claim, outcome: Outcome, error: str | None = None) -> None:
    connection.execute(_ATTEMPT, _attempt(claim, outcome, error))


def _attempt(claim: Claim, outcome: Outcome, error: str | None = None) -> dict[str, Any]:
    return {
        "job_id": claim.job_id,
        "epoch": claim.epoch,
        "number": claim.attempt + 1,
        "worker": claim.worker,
        "engine": claim.engine,
        "started_at": claim.claimed_at,
        "outcome": outcome,
        "error": error,
    }
