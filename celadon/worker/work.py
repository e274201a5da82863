"""What a worker does with a job's id, whether a message brought it or it was taken from the ledger by relief."""

from __future__ import annotations

import threading

from celadon import logs
from celadon.drain import draining
from celadon.errors import LedgerUnavailable
from celadon.ledger import moving, sending
from celadon.pickup import announce
from celadon.run import run_job
from celadon.states import State
from celadon.worker import aside, slots
from celadon.worker.post import post
from celadon.worker.solo import solos

log = logs.get("celadon.worker")

_lock = threading.Lock()
_dropped = 0


def dropped() -> int:
    """How many messages of ours named a job that is not in the ledger. In a prefork worker its children log them."""
    return _dropped


def _drop(job_id: str) -> None:
    global _dropped
    with _lock:
        _dropped += 1
    log.warning("message.without_job", job_id=job_id)


def work(job_id: str, *, pickup: bool = False) -> None:
    """Claim and run the job; if it is not to be had, see to it that nothing is left hanging. Raises nothing.

    The message may be acknowledged afterwards in any case: a job that did not run is still in the ledger.
    """
    runner = post().runner()
    aside.stand()
    try:
        if draining():
            sending.not_sent([job_id], again_in_s=0)  # For another worker, at once.
            return
        ran = run_job(
            job_id,
            runner,
            on_claim=(lambda claim: announce(job_id, claim.worker)) if pickup else None,
        )
        if ran.claim is not None:
            slots.returned(ran.claim)
            return
        why = ran.why
        if why is None or why.state is None:
            _drop(job_id)
        elif why.state == State.QUEUED and why.held:
            moving.hold(job_id)
        elif why.state == State.QUEUED and why.quarantine:
            solos.look()
        else:
            log.debug("message.dropped", job_id=job_id, state=why.state, claimed_by=why.claimed_by)
    except LedgerUnavailable as error:
        log.warning("message.left_to_the_ledger", job_id=job_id, error=str(error))
