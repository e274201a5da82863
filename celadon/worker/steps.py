"""The worker's own parts, hung into Celery's blueprint: presence, keeping, relief, and the watch over its consumer."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from celery import bootsteps, signals

from celadon import heartbeat, keeper, logs, registry, sentry
from celadon.drain import draining
from celadon.errors import LedgerUnavailable
from celadon.keeper import Keeper
from celadon.ledger import moving, presence
from celadon.ledger.db import use_reserve
from celadon.settings import settings
from celadon.worker import aside, children, ending, slots, work
from celadon.worker.children import Reporter
from celadon.worker.consuming import Watch
from celadon.worker.post import Post, post
from celadon.worker.relief import Relief
from celadon.worker.solo import solos

log = logs.get("celadon.worker")


def prepare() -> None:
    """What must stand before the pool forks: the children's pipe, the keeper, the signal handlers."""
    if post().lane.pool == "prefork":
        keeper.use(children.take().keeper)
    else:
        keeper.use(Keeper(on_timeout=slots.out_of_time))
    solos.busy = lambda: len(keeper.keeper())
    signals.worker_process_init.connect(_child_began, weak=False)
    signals.worker_process_shutdown.connect(lambda **_: sentry.flush(), weak=False)
    signals.worker_shutting_down.connect(_stopping, weak=False)
    signals.worker_ready.connect(_ready, weak=False)
    signals.task_unknown.connect(_unknown, weak=False)


class LedgerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts with the worker's pool and stops before it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopped = threading.Event()
        self._relief: Relief | None = None
        self._ledger_seen = time.monotonic()

    def start(self, parent: Any) -> None:
        if (forked := children.children()) is not None:
            forked.start()
        threading.Thread(target=self._be_present, name="celadon-presence", daemon=True).start()
        self._relief = relief = Relief(busy=lambda: len(keeper.keeper()) + len(solos))
        relief.start()
        watch = Watch(
            consumer=lambda: parent.consumer,
            full=lambda: aside.asked() or len(keeper.keeper()) >= post().lane.concurrency,
            away=lambda: relief.away or self._ledger_is_away(),
        )
        watch.start()
        heartbeat.only_while(watch.satisfied)
        heartbeat.ready()  # With the broker or without: relief works too.

    def stop(self, parent: Any) -> None:
        if self._relief is not None:
            self._relief.stop()
        # Celery knows nothing of the jobs that run alone; the grace thread ends this if they take too long.
        while len(solos):
            time.sleep(0.1)
        self._stopped.set()
        try:
            presence.leave(post().boot)
        except LedgerUnavailable:
            log.info("worker.left_without_a_word")

    terminate = stop

    def _be_present(self) -> None:
        use_reserve()
        here, there = _describe(post()), False
        while not self._stopped.is_set():
            try:
                if here.queues != post().lane.queues:  # Those of a registration file that has changed.
                    here, there = _describe(post()), False
                if not there:
                    presence.appear(here)
                there = presence.beat(here.id, lost_slots=slots.lost(), dropped=work.dropped(), stopping=draining())
                self._ledger_seen = time.monotonic()
            except LedgerUnavailable as error:
                log.warning("worker.ledger_away", error=str(error))
            except Exception:
                log.exception("worker.presence_failed")
            self._stopped.wait(settings().renew_s)

    def _ledger_is_away(self) -> bool:
        """Slots that wait for the ledger are no fault of the consumer's."""
        return time.monotonic() - self._ledger_seen > 2 * settings().renew_s


def _describe(here: Post) -> presence.Worker:
    return presence.Worker(
        id=here.boot,
        host=here.boot.split(":")[0],
        pid=os.getpid(),
        lane=here.lane.name,
        queues=here.lane.queues,
        tasks=tuple(sorted(registry.known())),
        concurrency=here.lane.concurrency,
    )


def _child_began(**_: Any) -> None:
    # Celery resets a child's signal handlers; Ctrl-C reaches the whole group, and the parent sees to the stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parents := children.children()) is not None:
        reporter = Reporter(parents.write)
        keeper.use(reporter)
        solos.elsewhere = reporter.suspects


def _ready(**_: Any) -> None:
    log.info("worker.ready", lane=post().lane.name, worker=post().boot, queues=list(post().lane.queues))


def _unknown(name: str = "", id: str = "", message: Any = None, **_: Any) -> None:
    """A message for a task this worker does not know: park the job until a worker appears that does."""
    if message is None or not (message.headers or {}).get("celadon"):
        return
    try:
        parked = moving.park(id)
        log.warning("job.parked", job_id=id, job=name, parked=parked)
    except LedgerUnavailable as error:
        log.warning("job.not_parked", job_id=id, job=name, error=str(error))


def _stopping(**_: Any) -> None:
    """SIGTERM: runs end at their next step; what is left when the grace is over is given back, unburnt."""
    ending.stop()
