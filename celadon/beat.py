"""Celery's Beat with a scheduler on the ledger. Any number may run at once, without a leader.

Firing is one transaction that moves the schedule's row on and stores its job: only one of them finds the row unmoved.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from celery.beat import Scheduler

from celadon import due, heartbeat, logs, registry, sentry
from celadon.app import app, load
from celadon.chores import Chores
from celadon.errors import CeladonError, LedgerUnavailable
from celadon.ids import new_id
from celadon.jobs import NewJob
from celadon.ledger import presence, schedules
from celadon.ledger.db import clock, reading
from celadon.ledger.presence import Worker
from celadon.ledger.schedules import Entry
from celadon.metrics import readings, serving
from celadon.queues import operators_file
from celadon.registry import Definition
from celadon.sender import Sender
from celadon.settings import settings
from celadon.states import State

log = logs.get("celadon.scheduler")


class LedgerScheduler(Scheduler):  # type: ignore[misc]
    """Fires schedules from rows and does the ledger's chores."""

    def setup_schedule(self) -> None:
        self.max_interval = settings().tick_s
        entries(datetime.now(UTC))  # A schedule that can't be kept is refused now, in words.
        self._sender = Sender()
        self._chores = Chores(self._sender)
        self._synced = False
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

    def tick(self, *_: Any, **__: Any) -> float:
        """One round of everything; returns the seconds to pause. Nothing that fails in it ends the scheduler."""
        pause = settings().tick_s
        try:
            if not self._synced:
                sync()
                self._synced = True
            self._be_present()
            fire_due()
            pause = self._chores.tick()
            heartbeat.ready()
        except LedgerUnavailable as error:
            log.warning("scheduler.ledger_away", error=str(error))
        except Exception:
            log.exception("scheduler.failed")
        return pause

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


def entries(now: datetime) -> list[Entry]:
    """`celeryconfig.beat_schedule` in the ledger's words. Raises CeladonError for an entry that can't be."""
    made = []
    declared: dict[str, dict[str, Any]] = getattr(operators_file(), "beat_schedule", {})
    for name, facts in declared.items():
        definition = registry.get(facts["task"])
        if facts.get("args"):
            raise CeladonError(f"beat_schedule[{name!r}]: give the payload as kwargs, not as args")
        rule = due.rule_of(name, facts["schedule"])
        made.append(
            Entry(
                name=name,
                job=definition.name,
                spec=rule,
                payload=definition.validate(facts.get("kwargs", {})),
                queue=facts.get("options", {}).get("queue"),
                next_due=due.following(rule, now),
            )
        )
    return made


def sync() -> None:
    """Make the rows say what the configuration says, except those that a newer one has made."""
    with reading() as connection:
        now = clock(connection)
    generation = int(getattr(operators_file(), "beat_generation", 1))
    newer = schedules.sync(entries(now), generation, now)
    if newer:
        log.warning("schedules.newer", schedules=newer, generation=generation)


def fire_due() -> int:
    """Fire every schedule that is due: its latest due time once. What was missed before that is left out."""
    rows, now = schedules.due()
    fired = 0
    for row in rows:
        try:
            fired += _fire(row, now)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("schedule.failed", schedule=row.name)
    return fired


def _fire(row: Any, now: datetime) -> bool:
    definition = registry.known().get(row.job)
    if definition is None:
        log.error("schedule.unknown_job", schedule=row.name, job=row.job)
        return False
    latest = due.latest(row.spec, row.next_due, now)
    done = schedules.fire(row, latest, due.following(row.spec, latest), _job(row, definition, latest))
    if done:
        log.info("schedule.fired", schedule=row.name, job=row.job, due=latest.isoformat())
    return done


def _job(row: Any, definition: Definition, due_time: Any) -> NewJob:
    # It goes in as due, so that the promotion of the same tick queues and sends it like everything else.
    return NewJob(
        id=new_id(),
        name=definition.name,
        queue=row.queue or definition.queue_of(delayed=True),
        payload=row.payload,
        size=len(str(row.payload)),
        max_attempts=definition.attempts,
        state=State.SCHEDULED,
        run_at=due_time,
        scope=definition.scope_of(row.payload),
        schedule=row.name,
        due=due_time,
    )


def run() -> None:
    """`celadon beat`: run until told to stop."""
    logs.configure()
    heartbeat.begin()
    heartbeat.keep()
    sentry.start("beat")
    serving.start("beat", readings.LEDGER)
    load()
    app.Beat(scheduler=f"{__name__}:LedgerScheduler", schedule=None, loglevel=settings().log_level, quiet=True).run()
