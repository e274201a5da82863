"""A scheduler's part in the registration file: it says which version it has, and sees to the limits of the newest."""

from __future__ import annotations

import time

from celadon import limits, logs
from celadon.delegation import file
from celadon.ledger import registrations
from celadon.settings import settings

log = logs.get("celadon.scheduler")


class Holding:
    """The version that this scheduler has said to have."""

    def __init__(self) -> None:
        self._digest: str | None = None
        self._say_at = 0.0
        self._told: str | None = None  # The newer version that was told of.

    def look(self) -> None:
        """Say it every RENEW_S, and at once when the file has changed. Raises LedgerUnavailable."""
        table = file.table()
        if time.monotonic() < self._say_at and table.digest == self._digest:
            return
        self._say_at = time.monotonic() + settings().renew_s
        if not table.digest and self._has_nothing_to_say():
            return
        changed = self._digest is not None and self._digest != table.digest
        held = registrations.hold(table.digest, limits.registered(), changed=changed)
        self._digest = table.digest
        if held.applied:
            log.info("delegation.limits_set", digest=table.digest, queues=len(table.entries))
        if held.newest == table.digest:
            self._told = None
        elif held.newest != self._told:
            self._told = held.newest
            cure = "give this host the newer file; else its limits hold as soon as no scheduler has that one"
            log.warning("delegation.older_file", digest=table.digest, newer=held.newest, cure=cure)

    def _has_nothing_to_say(self) -> bool:
        """No file could be used since the process began: there is none, or it is wrong, and says nothing of limits."""
        if self._digest is not None:
            return False
        return file.last_error() is not None or not registrations.any_had()
