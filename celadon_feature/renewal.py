"""A run's expiry, moved on while its handler runs."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from celadon_feature.stores import Run, Store, StoreUnavailable

log = logging.getLogger("celadon_feature")

PARTS = 3  # It is renewed after a third of its time, so that one renewal may fail.


class Renewal:
    """While the block runs, a thread of its own keeps the run from expiring.

    A thread for each run, so that it works on every server, also across a fork, and a renewal that hangs holds up none
    but its own. When the process dies the renewals end, and soon the run counts as interrupted.
    """

    def __init__(self, store: Store, run: Run, expires_s: float) -> None:
        self._store, self._run, self._expires_s = store, run, expires_s
        self._over = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._renew, name=f"renew-{self._run.job_id}", daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()  # A renewal that is under way changes nothing any more once the run has ended.

    def _renew(self) -> None:
        while not self._over.wait(self._expires_s / PARTS):
            try:
                ours = self._store.renew(self._run, self._expires_s)
            except StoreUnavailable as away:
                log.warning("job %s could not be renewed: %s", self._run.job_id, away)
                continue
            if not ours and not self._over.is_set():
                log.warning("job %s expired under its handler, and another delivery has begun it", self._run.job_id)
                return
