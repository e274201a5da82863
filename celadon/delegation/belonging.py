"""Which jobs belong into which queues: deliveries into those of the registration file, and nothing else there.

Callbacks belong to nobody who submits. They are signed with the keys of whoever is told, so what they tell has to be
what became of a job; only `telling` makes them.
"""

from __future__ import annotations

import difflib

from celadon.delegation import file
from celadon.delegation.entries import CALLBACKS, Entry
from celadon.errors import InvalidOption, UnknownQueue

DELIVER, CALLBACK = "delegation.deliver", "delegation.callback"
MOST_NAMED = 20  # Queues that an error lists.


def entry_of(queue: str) -> Entry:
    """What the registration file says of a queue. Raises UnknownQueue, with the nearest name."""
    known = file.table().entries
    if queue in known:
        return known[queue]
    near = difflib.get_close_matches(queue, known, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif known:
        hint = f"there are: {', '.join(sorted(known)[:MOST_NAMED])}" + ("…" if len(known) > MOST_NAMED else "")
    else:
        hint = "no queue is; name the registration file in celeryconfig.delegation or DELEGATION_FILE"
    problem = file.last_error()
    raise UnknownQueue(
        f"The queue {queue!r} is not delegated; {hint}"
        + (f" (the registration file can't be used as it stands: {problem})" if problem else ""),
        queue=queue,
    )


def attempts(name: str, queue: str, declared: int) -> int:
    """How many tries a job of this name has in this queue: of a delivery, as many as the registration file says.

    declared: by the job. Raises UnknownQueue for a delivery elsewhere, InvalidOption for another job in a delegated
    queue, for a service would be sent what is not meant for it; and for whatever would be a callback.
    """
    if name == CALLBACK:
        raise InvalidOption(
            f"{name!r} is made by the platform, at the end of a job that was submitted with callback=; submit that one",
            option="name",
        )
    if name == DELIVER:
        return entry_of(queue).attempts
    if queue == CALLBACKS and queue in file.table().queues:
        raise InvalidOption(f"queue={queue!r} is that of callbacks; submit {name!r} into another queue", option="queue")
    if queue in file.table().entries:
        raise InvalidOption(
            f"queue={queue!r} is delegated, so its jobs run in another service; submit them with "
            f"celadon.delegate({queue!r}, data), and {name!r} into another queue",
            option="queue",
        )
    return declared


def key_scope(name: str, queue: str) -> str:
    """Within what an idempotency key is unique: jobs of one name, and deliveries to one queue."""
    return f"{name} {queue}" if name == DELIVER else name
