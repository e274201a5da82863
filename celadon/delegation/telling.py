"""Turning the ends of jobs that somebody wants to be told of into jobs that tell: a chore of the scheduler's."""

from __future__ import annotations

import json
import time
from typing import Any

from celadon import logs, registry
from celadon.delegation import urls
from celadon.delegation.belonging import CALLBACK
from celadon.delegation.entries import CALLBACKS
from celadon.errors import TargetNotAllowed
from celadon.ids import new_id
from celadon.jobs import NewJob
from celadon.ledger.callbacks import BATCH, turn_ended
from celadon.states import State

log = logs.get("celadon.scheduler")

ALL_EVERY_S = 60.0  # Between two looks at all that ended, for what a look at the latest could miss.


class Telling:
    """Looks at what has ended lately, and now and then at everything."""

    def __init__(self) -> None:
        self._all_at = 0.0

    def turn(self) -> int:
        """Make the jobs there are to make; how many. Raises LedgerUnavailable."""
        if CALLBACK not in registry.known():
            return 0  # Without a registration file nobody may be told.
        everything = time.monotonic() >= self._all_at
        made = found = turn_ended(job_of, lately=not everything)
        while found == BATCH:
            found = turn_ended(job_of, lately=not everything)
            made += found
        if everything:
            self._all_at = time.monotonic() + ALL_EVERY_S
        if made:
            log.info("callbacks.made", jobs=made)
        return made


def job_of(row: Any) -> NewJob:
    """The job that tells how another has ended. Its tenant is the receiver, so that each has a turn of its own."""
    definition = registry.get(CALLBACK)
    payload = {"url": row.url, "told": told(row)}
    return NewJob(
        id=new_id(),
        name=definition.name,
        queue=CALLBACKS,
        payload=payload,
        size=len(json.dumps(payload)),
        max_attempts=definition.attempts,
        # As due now, so that the scheduler's next tick queues and sends it like everything else.
        state=State.SCHEDULED,
        delay_s=0.0,
        tenant=_receiver(row.url),
        trace=row.trace,
    )


def told(row: Any) -> dict[str, Any]:
    """What the receiver is sent."""
    end: dict[str, Any] = {"jobId": row.id, "queueName": row.queue, "state": row.state}
    if row.state == State.SUCCEEDED:
        return {**end, "result": row.result}
    error = {"kind": row.error_kind, "message": row.error_message, "fingerprint": row.error_fingerprint}
    return {**end, "error": error}


def _receiver(url: str) -> str:
    try:
        return urls.parse(url, range(1, 65536)).origin[:200]
    except TargetNotAllowed:
        return "?"
