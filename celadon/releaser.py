"""Releasing what limits held, as soon as there is room: a thread of its own, so that no other chore delays a window."""

from __future__ import annotations

import threading
import time

from celadon import logs
from celadon.errors import LedgerUnavailable
from celadon.ledger import limits, moving
from celadon.sender import Sender
from celadon.settings import settings

log = logs.get("celadon.releaser")

LOOK_S = 0.05  # Between two looks while limited jobs wait: a place in a window stands free no longer.
AGAIN_S = 1.0  # After a turn that failed.
FORGET_S = 10.0  # Between two clearings of the starts that no window looks back at.


class Releaser:
    """Releases in turn, and leaves the sending to the sender."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._stop = threading.Event()
        self._next_hold = 0.0
        self._next_forget = 0.0

    def start(self) -> None:
        threading.Thread(target=self._loop, name="celadon-releaser", daemon=True).start()

    def stop(self) -> None:
        """End after the turn under way, without waiting for that."""
        self._stop.set()

    def _loop(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = self.turn()
            except LedgerUnavailable as error:
                log.warning("releaser.ledger_away", error=str(error))
                pause = AGAIN_S
            except Exception:
                log.exception("releaser.failed")
                pause = AGAIN_S

    def turn(self) -> float:
        """Release what has room now; the seconds there is time until the next look. Raises LedgerUnavailable."""
        now = time.monotonic()
        if now >= self._next_hold:
            # A full batch is followed by the next at once; else a look for it now and then is enough.
            full = moving.hold_unplaced() >= moving.BATCH
            self._next_hold = now if full else now + settings().tick_s
        if now >= self._next_forget:
            self._next_forget = now + FORGET_S
            limits.forget_starts()
        if not limits.somebody_waits():
            return settings().tick_s
        if limits.release():
            self._sender.wake()
        return LOOK_S
