"""Letting limited jobs in without waiting for the scheduler: a release of one's own, and the broker told of it at once.

Who does it only makes it quicker. What is not released here, or not told, the scheduler's releaser and sender see to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from celadon import broker, logs, outlook
from celadon.deadline import within
from celadon.errors import LedgerUnavailable
from celadon.jobs import Claim, NewJob
from celadon.ledger import gates, limits, sending
from celadon.ledger.db import reading
from celadon.ledger.gates import Group
from celadon.ledger.sending import ToSend
from celadon.settings import settings

log = logs.get("celadon.admission")

MOST = 20  # Jobs that one submission or one end of a run lets go beside its own.
AGAIN_S = 0.5  # When the sender tries what could not be told.


def let_in(new: Sequence[NewJob]) -> set[str]:
    """Release what has a turn at the gates of jobs just stored; the ids of those of them that may go.

    Their messages are for the caller to send; those of others are sent here. Raises nothing: who is not let in waits.
    """
    at = {gate for job in new for gate in _gates(job.queue, job.name, job.tenant)}
    mine = {job.id for job in new}
    try:
        released = within(
            settings().ledger_timeout_s, lambda _: limits.release(at, most=MOST + len(new), sends=True), job_id=""
        )
    except LedgerUnavailable as away:
        log.info("admission.ledger_away", reason=str(away))
        return set()
    tell([job for job in released if job.job_id not in mine])
    return {job.job_id for job in released if job.job_id in mine}


def give_on(claim: Claim) -> None:
    """A run that a limit counted is over: let the next go in its place. Raises nothing."""
    try:
        tell(limits.release(_gates(claim.queue, claim.name, claim.tenant), most=MOST, sends=True))
    except LedgerUnavailable as away:
        log.info("admission.ledger_away", reason=str(away))
    except Exception:
        log.exception("admission.failed")


def why_waiting(queue: str, name: str, tenant: str | None) -> str:
    """What holds a job, in words for a receipt."""

    def ask(_: object) -> str:
        with reading() as connection:
            return gates.why_waiting(connection, queue, name, tenant)

    try:
        return within(settings().ledger_timeout_s, ask, job_id="")
    except LedgerUnavailable:
        return "it is paused or limited"


def tell(released: Sequence[ToSend]) -> None:
    """Tell the broker of jobs that were released; what it can't be told stays with the sender."""
    if not released:
        return
    to_tell = [job for job in released if not _off(job)]
    try:
        if to_tell:
            broker.send_many(to_tell)
    except broker.NotSent as error:
        log.info("admission.not_sent", jobs=len(to_tell), reason=error.reason)
    else:
        released = [job for job in released if job not in to_tell]
    if released:
        sending.not_sent([job.job_id for job in released], again_in_s=AGAIN_S)


def _off(job: ToSend) -> bool:
    return not settings().use_broker or outlook.switched_off(job.queue, job.name)


def _gates(queue: str, name: str, tenant: str | None) -> Collection[tuple[str, str]]:
    return Group(queue, name, tenant or "").gates
