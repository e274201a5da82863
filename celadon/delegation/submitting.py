"""Submitting a job that another service runs: by the name of its queue, with data as that service understands it."""

from __future__ import annotations

import difflib
import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session, scoped_session

from celadon import registry, telemetry
from celadon.delegation import file, urls
from celadon.delegation.belonging import DELIVER, entry_of
from celadon.errors import InvalidOption, TargetNotAllowed
from celadon.jobs import Receipt
from celadon.submit import accept, prepare


def delegate(
    queue: str,
    data: Any,
    *,
    key: str | None = None,
    delay: timedelta | float | None = None,
    run_at: datetime | None = None,
    priority: int | None = None,
    tenant: str | None = None,
    expires_in: timedelta | float | None = None,
    callback: str | None = None,
    session: Session | scoped_session[Session] | None = None,
) -> Receipt:
    """Submit a job that is delivered over HTTP to the service that owns the queue, and say what became of it.

    queue: one of the registration file, which also says how often it is tried. data: JSON, handed to the service as it
    is. callback: a URL of yours that is told, signed and as often as needed, how the job has ended; its origin has to
    stand in [callbacks] of the registration file. key: idempotency key, unique within the queue. The other options,
    the receipt and the errors are those of `celadon.submit`.

    Raises also UnknownQueue for a queue that is not delegated, InvalidOption for a callback that is not allowed.

    Not promised: that the service does the work once. It is sent the job's id as `Idempotency-Key`, the same each time;
    with `celadon_feature`, or a receiver that honours the key otherwise, it does.
    """
    began = time.monotonic()
    with telemetry.refusals(DELIVER):
        entry_of(queue)
        definition = registry.get(DELIVER)
        if callback is not None:
            callback = _allowed(callback)
        new = prepare(
            definition, {"data": data}, key, run_at, delay, expires_in, queue, priority, tenant, callback=callback
        )
        return accept(new, definition, False, session, began)


def _allowed(callback: str) -> str:
    """The URL as it is kept. Raises InvalidOption."""
    try:
        url = urls.parse(callback, range(1, 65536))
    except TargetNotAllowed as error:
        raise InvalidOption(f"callback: {error}", option="callback") from error
    known = file.table().callbacks
    if url.origin not in known:
        near = difflib.get_close_matches(url.origin, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "add it to [callbacks] of the registration file"
        raise InvalidOption(f"callback: {url.origin} may not be sent results; {hint}", option="callback")
    return str(url)
