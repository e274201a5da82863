"""What submit does when the broker can't be told, or no worker answers: by the job's policy."""

from __future__ import annotations

import time

from celadon import admission, logs
from celadon.errors import LedgerUnavailable, Refused
from celadon.inline import run_inline
from celadon.jobs import NewJob, Receipt, Submitted
from celadon.ledger.claims import WhyNot, why_not
from celadon.ledger.db import begin
from celadon.ledger.writing import withdraw
from celadon.registry import Definition
from celadon.states import FINAL, State

log = logs.get("celadon.fallback")


def fall_back(new: NewJob, definition: Definition, receipt: Receipt, began: float, reason: str) -> Receipt:
    """inline: run it here, if it can be claimed. defer: leave it to the ledger. refuse: take it back and say so.

    The message may have arrived all the same; then the claim decides who runs it.
    """
    policy = definition.fallback_on(new.queue)
    log.info("submit.fell_back", job_id=new.id, job=new.name, policy=policy, reason=reason)
    try:
        if policy == "inline":
            return _inline(new, receipt, began, reason)
        if policy == "refuse":
            return _refuse(new, receipt, began, reason)
    except LedgerUnavailable as error:
        reason = f"{reason}; then the ledger went away: {error}"
    return receipt.settle(Submitted.DEFERRED, reason=reason)


def _inline(new: NewJob, receipt: Receipt, began: float, reason: str) -> Receipt:
    ran = run_inline(new.id, new.queue)
    if ran is None:
        return receipt.settle(Submitted.DEFERRED, reason=f"{reason}; as many inline runs as allowed are under way")
    if ran.claim is None:
        return somebody_else(new, ran.why or why_not(new.id), receipt, began, reason)
    after_ms = round((time.monotonic() - began) * 1000, 1)
    if ran.state is None or (ran.state in (State.QUEUED, State.SCHEDULED) and not ran.failed):
        return receipt.settle(
            Submitted.DEFERRED, by=ran.claim.worker, reason=f"{reason}; begun inline, {ran.error or 'asleep'}"
        )
    if ran.failed:
        reason = f"{reason}; the run failed: {ran.error}"
    return receipt.settle(Submitted.INLINE, by=ran.claim.worker, after_ms=after_ms, reason=reason)


def _refuse(new: NewJob, receipt: Receipt, began: float, reason: str) -> Receipt:
    with begin() as connection:
        withdrawn = withdraw(connection, new.id, reason)
    if withdrawn:
        raise refusal(new, reason)
    return somebody_else(new, why_not(new.id), receipt, began, reason)


def refusal(new: NewJob, reason: str) -> Refused:
    return Refused(f"{new.name!r} was refused: {reason}. Nothing will run; try again later", job_id=new.id)


def somebody_else(new: NewJob, why: WhyNot, receipt: Receipt, began: float, reason: str) -> Receipt:
    """The job could not be claimed here: say where it is."""
    if why.state is None:
        return receipt.settle(Submitted.PENDING, reason="it is not in the ledger: its transaction was rolled back")
    if why.state == State.RUNNING or why.state in FINAL:
        after_ms = round((time.monotonic() - began) * 1000, 1)
        return receipt.settle(Submitted.PICKED_UP, by=why.claimed_by, after_ms=after_ms)
    if why.state == State.WAITING or why.held:
        return receipt.settle(Submitted.WAITING, reason=admission.why_held(new))
    return receipt.settle(Submitted.DEFERRED, reason=reason)
