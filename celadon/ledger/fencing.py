"""The fence: a claim is its job's epoch. Every departure raises that, so a write that names an old one finds no row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Float, Integer, String, and_, bindparam, select, tuple_, update

from celadon.errors import LostClaim
from celadon.jobs import Claim
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import jobs
from celadon.states import State

ID: Any = bindparam("b_id", type_=String)
LEASE: Any = bindparam("b_lease_s", type_=Float)
MINE = and_(jobs.c.id == ID, jobs.c.epoch == bindparam("b_epoch", type_=Integer), jobs.c.state == State.RUNNING.value)
"""SQL: the claim still stands. Executed with `this(claim)`."""

_FENCE = update(jobs).where(MINE).values(lease_until=at(LEASE)).returning(jobs.c.cancel_requested)
_FENCE_OF_PROGRESS = _FENCE.values(crashes=0, deaths=0)


def this(claim: Claim) -> dict[str, Any]:
    return {"b_id": claim.job_id, "b_epoch": claim.epoch}


def lost(claim: Claim) -> LostClaim:
    return LostClaim(f"job {claim.job_id}: epoch {claim.epoch} is no longer the running one")


def fence(connection: Connection, claim: Claim, lease_s: float, *, progress: bool = False) -> bool:
    """Assert, as the last statement before a commit, that the claim stands. Raises LostClaim.

    It locks the row until the commit, so no departure can slip in between, and it extends the lease.
    progress: what is committed brings the job on, so that its crashes are counted from here anew.
    Returns whether somebody asked for the job to be cancelled.
    """
    statement = _FENCE_OF_PROGRESS if progress else _FENCE
    held = connection.execute(statement, {**this(claim), "b_lease_s": lease_s}).one_or_none()
    if held is None:
        raise lost(claim)
    return bool(held.cancel_requested)


def asked_to_cancel(claim: Claim) -> bool:
    """Whether somebody asked for this running job to be cancelled. Raises LostClaim."""
    with reading() as connection:
        row = connection.execute(select(jobs.c.cancel_requested).where(MINE), this(claim)).one_or_none()
    if row is None:
        raise lost(claim)
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
