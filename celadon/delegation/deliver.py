"""The one job of all delegated queues: it POSTs the row's data to the service that owns the row's queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celadon import backoff, logs
from celadon.delegation import file
from celadon.delegation.belonging import DELIVER as NAME
from celadon.delegation.entries import Entry
from celadon.errors import DeliveryFailed, DeliveryRefused, Expired, Postponed
from celadon.jobs import Claim
from celadon.ledger import deliveries
from celadon.steps import Steps
from celadon.task import job

log = logs.get("celadon.delegation")

# A worker may read the registration file a moment later than who submitted, or earlier.
NOT_REGISTERED_S = 10.0
AWAY_AGAIN_S = 5.0  # When a delivery in doubt is asked after again, if nothing connects to its endpoint.
BACKOFF_CAP = timedelta(hours=1)


@job(NAME, fallback="defer", keep=10_000)
def deliver(data: Any, steps: Steps) -> Any:
    """Deliver a job once, or find out what became of it when it was delivered before. Returns the service's result.

    Raises DeliveryFailed (a failed try), DeliveryRefused (dead at once), Postponed (no try is burnt), Expired.
    """
    # Every process knows this job; only who delivers loads the HTTP client.
    from celadon.delegation import asking
    from celadon.delegation.delivery import Delivery
    from celadon.delegation.status_table import Becomes

    claim, table = steps.claim, file.table()
    earlier = deliveries.earlier(claim)
    if earlier.expired and not earlier.tries and not earlier.in_doubt:
        # To the ledger it has begun, and would not expire any more; but its service was away, or had it put off.
        deliveries.expire(claim)
        raise Expired
    entry = table.entries.get(claim.queue)
    if entry is None:
        why = f"the registration file has no queue {claim.queue!r} now"
        deliveries.keep(claim, verdict=why, in_doubt=earlier.in_doubt)
        raise Postponed(NOT_REGISTERED_S, why)
    delivery = Delivery(table, entry, claim, earlier)
    try:
        verdict = asking.settled(delivery, check=steps.check)
    except Postponed as postponed:
        delivery.keep(str(postponed))
        raise
    if verdict.becomes == Becomes.SUCCEEDED:
        if earlier.kept:
            _forget(claim)
        return verdict.result
    why = f"{entry.service}: {verdict.why}"
    delivery.keep(why)
    if verdict.becomes == Becomes.POSTPONED:
        raise Postponed(AWAY_AGAIN_S if verdict.after_s is None else verdict.after_s, why)
    if verdict.becomes == Becomes.DEAD:
        raise DeliveryRefused(why)
    raise DeliveryFailed(_pause_s(entry, claim), why)


def _forget(claim: Claim) -> None:
    """Raises nothing: what is done has to be told as done."""
    try:
        deliveries.forget(claim)
    except Exception as error:
        log.warning("delivery.not_forgotten", reason=f"{type(error).__name__}: {error}")


def _pause_s(entry: Entry, claim: Claim) -> float:
    """The pause before the next try."""
    if entry.backoff == "fixed":
        return entry.backoff_s
    return backoff.delay_s(claim.attempt + 1, timedelta(seconds=entry.backoff_s), BACKOFF_CAP)
