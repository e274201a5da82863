"""Server-sent events: what is watched is told as it changes, until it changes no more.

Policy, in this one place: a stream holds one thread, so at most half of a process's threads stream or wait (the others
answer requests); a further client gets 503 and polls. A stream ends after MAX_S, and the browser comes back by itself
with the id of what it saw last. A ledger that is away ends the stream too, and so does a process that is stopping; the
client comes back, and hears what is so.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from threading import BoundedSemaphore
from typing import Any

from flask import Response, request

from celadon import drain
from celadon.errors import LedgerUnavailable, UnknownJobId
from celadon.settings import settings
from web.problems import problem

FIRST_LOOK_S, LAST_LOOK_S = 0.1, 1.0  # Pauses between looks: short after a change, longer while nothing happens.
KEEP_ALIVE_S = 10.0  # A comment so often, so that no proxy takes the silence for the end.
MAX_S = 120.0  # Longest stream: a browser that vanished without a word holds its thread no longer.
COME_BACK_MS = 1000  # How soon a client whose stream ended comes back.


class Over(Exception):
    """Raised by a look: there is nothing more to be told to this client."""


Look = Callable[[], tuple[dict[str, Any], bool]]


def stream(look: Look, event: str = "change") -> Response:
    """Answer the present request with a stream of what `look()` sees.

    look: returns (what is to be told, whether it is final); called for the first time before the answer begins, so
    that what it raises is an answer of its own (after Over an empty stream: who comes back hears why). event: the name
    of each event; the last one is called `end`.
    """
    if not holders().acquire(blocking=False):
        return problem(503, "As many streams as allowed are open; poll instead.", "too-many-streams")
    try:
        first = look()
    except Over:
        holders().release()
        return Response(content_type="text/event-stream")
    except BaseException:
        holders().release()
        raise
    seen = request.headers.get("Last-Event-ID", "")
    response = Response(_events(look, first, seen, event), content_type="text/event-stream")
    response.call_on_close(holders().release)
    response.headers["X-Accel-Buffering"] = "no"  # A proxy that collects the events would make them useless.
    return response


def _events(look: Look, first: tuple[dict[str, Any], bool], seen: str, event: str) -> Iterator[str]:
    began = spoke = time.monotonic()
    pause = FIRST_LOOK_S
    told, final = first
    yield f"retry: {COME_BACK_MS}\n\n"
    while True:
        data = json.dumps(told, separators=(",", ":"))
        mark = hashlib.blake2b(data.encode(), digest_size=8).hexdigest()
        now = time.monotonic()
        if mark != seen or final:
            yield f"id: {mark}\nevent: {'end' if final else event}\ndata: {data}\n\n"
            seen, spoke, pause = mark, now, FIRST_LOOK_S
        elif now - spoke > KEEP_ALIVE_S:
            yield ": still here\n\n"
            spoke = now
        if final or now - began > MAX_S or drain.draining():
            return
        time.sleep(pause)
        pause = min(pause * 1.3, LAST_LOOK_S)
        try:
            told, final = look()
        except (LedgerUnavailable, UnknownJobId, Over):
            return


@cache
def holders() -> BoundedSemaphore:
    """Taken by whoever keeps a thread for longer than an answer takes: streams, and requests that wait."""
    return BoundedSemaphore(max(1, settings().web_threads // 2))
