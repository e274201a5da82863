"""A process that submits its share of a round and says, before and after, what it was told.

It may die at any point. What it had said before it called but not after is in doubt: the judge then demands no more
than that the ledger has the job whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celadon import errors, submit
from celadon.ledger import session
from tests.fence import edges, history
from tests.fence.jobs import HISTORY, note


def submit_all(number: int, share: Sequence[dict[str, Any]]) -> None:
    """Submit one after the other; `at` is when each is due, by the host's monotonic clock."""
    edges.play("submitter")
    for item in share:
        pause = item["at"] - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        submit_one(number, item)


def submit_one(number: int, item: dict[str, Any]) -> None:
    label, key = item["label"], item.get("key")
    told = {"label": label, "key": key, "kind": item["kind"], "how": item["how"], "by": number}
    history.append(HISTORY, "calling", **told)
    options = {name: item[name] for name in ("delay", "confirm", "tenant") if name in item}
    try:
        if item["how"] == "session":
            receipt = in_session(item, told)
        else:
            receipt = submit(item["kind"], {"label": label}, key=key, **options)
    except errors.Refused as error:
        history.append(HISTORY, "refused", job_id=error.job_id, **told)
        return
    except Exception as error:
        # No acknowledgement. Whether it was an honest refusal of a ledger that is away is the judge's to say.
        history.append(HISTORY, "failed", error=f"{type(error).__name__}: {error}", **told)
        return
    if receipt is not None:
        history.append(HISTORY, "acknowledged", job_id=receipt.job_id, outcome=receipt.outcome, **told)


def in_session(item: dict[str, Any], told: dict[str, Any]) -> Any:
    """Store a row of the caller's and submit, in one transaction; then commit, or roll back."""
    with session() as own:
        note(own, item["label"])
        receipt = submit(item["kind"], {"label": item["label"]}, tenant=item.get("tenant"), session=own)
        edges.passing("before_outer_commit", item["label"])
        if item.get("rollback"):
            own.rollback()
            history.append(HISTORY, "rolled_back", job_id=receipt.job_id, **told)
            return None
        own.commit()
    return receipt
