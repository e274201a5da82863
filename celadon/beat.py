"""Celery's Beat with a scheduler on the ledger. Any number may run at once, without a leader (celadon/firing.py)."""

from __future__ import annotations

import os
import socket
import time
import uuid
from typing import Any

from celery.beat import Scheduler

from celadon import beat_schedule, heartbeat, limits, logs, sentry
from celadon.app import app, load
from celadon.chores import Chores
from celadon.delegation.holding import Holding
from celadon.errors import LedgerUnavailable
from celadon.firing import fire_due
from celadon.ledger import db, presence, schedules
from celadon.ledger import limits as rows
from celadon.ledger.presence import Worker
from celadon.metrics import readings, serving
from celadon.releaser import Releaser
from celadon.sender import Sender
from celadon.settings import settings

log = logs.get("celadon.scheduler")


class LedgerScheduler(Scheduler):  # type: ignore[misc]
    """Fires schedules from rows and does the ledger's chores."""

    def setup_schedule(self) -> None:
        self.max_interval = settings().tick_s
        # What can't be kept is refused now, in words.
        beat_schedule.entries()
        limits.declared()
        self._sender = Sender()
        self._chores = Chores(self._sender)
        self._synced = self._busy_told = False
        self._holding = Holding()
        self._present_until = 0.0
        self._self = Worker(
            id=f"{socket.gethostname()}:{uuid.uuid4().hex[:10]}",
            host=socket.gethostname(),
            pid=os.getpid(),
            lane="beat",
            queues=(),
            tasks=(),
            concurrency=0,
        )
        self._sender.start()
        self._releaser = Releaser(self._sender)
        self._releaser.start()

    def tick(self, *_: Any, **__: Any) -> float:
        """One round of everything; returns the seconds to pause. Nothing that fails in it ends the scheduler."""
        pause = settings().tick_s
        try:
            if not self._synced:
                # What somebody else holds is tried again at the next tick, and holds up nothing.
                self._synced = self._sync()
            self._be_present()
            self._holding.look()
            looked = fire_due()
            pause = self._chores.tick()
            if looked.fired and not looked.through:
                pause = 0.0
            heartbeat.ready()
        except LedgerUnavailable as error:
            log.warning("scheduler.ledger_away", error=str(error))
        except Exception:
            log.exception("scheduler.failed")
        return pause

    def _sync(self) -> bool:
        """Whether all is as the configuration says."""
        busy = sync()
        if busy and not self._busy_told:
            log.warning("schedules.busy", schedules=busy)
        self._busy_told = bool(busy)
        return not busy

    def _be_present(self) -> None:
        if time.monotonic() < self._present_until:
            return
        if not presence.beat(self._self.id):
            presence.appear(self._self)
        self._present_until = time.monotonic() + settings().renew_s

    def close(self) -> None:
        # Called from a signal handler, perhaps in the midst of a transaction of this very thread: no SQL here, and no
        # waiting for it. The scheduler is taken for gone when it has not been heard of for PRESENCE_S.
        heartbeat.stopping()
        self._sender.stop()
        self._releaser.stop()


def sync() -> list[str]:
    """Make the rows say what the configuration says, except those that a newer one has made.

    Returns the schedules that somebody else was at; call it again for them.
    """
    generation = beat_schedule.generation()
    synced = schedules.sync(beat_schedule.entries(), generation)
    if synced.newer:
        log.warning("schedules.newer", schedules=synced.newer, generation=generation)
    if synced.taken:
        log.warning("schedules.taken", schedules=synced.taken)
    if synced.removed:
        log.info("schedules.removed", schedules=synced.removed, generation=generation)
    if synced.disputed:
        cure = "raise beat_generation with each change: of two releases with the same, whoever starts last has its way"
        log.warning("schedules.disputed", schedules=synced.disputed, generation=generation, cure=cure)
    newer = rows.sync(limits.declared(), limits.generation())
    if newer:
        log.warning("limits.newer", gates=newer, generation=limits.generation())
    return synced.busy


def run() -> None:
    """`celadon beat`: run until told to stop."""
    logs.configure()
    heartbeat.begin()
    heartbeat.keep()
    sentry.start("beat")
    serving.start("beat", readings.LEDGER)
    load()
    db.end_idle_transactions(settings().lease_s)
    app.Beat(scheduler=f"{__name__}:LedgerScheduler", schedule=None, loglevel=settings().log_level, quiet=True).run()
