"""Relief: while the broker is away, a worker takes queued jobs of its own queues straight from the ledger.

They go through the same run function and the same claim, within the lane's concurrency, so nothing about them is
special except how the worker heard of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import ColumnElement, and_

from celadon import broker, logs, registry
from celadon.drain import draining
from celadon.errors import LedgerUnavailable
from celadon.ledger import moving, sending, switches
from celadon.ledger.tables import jobs
from celadon.settings import settings
from celadon.worker import aside
from celadon.worker.post import post
from celadon.worker.solo import solos
from celadon.worker.work import work

log = logs.get("celadon.worker.relief")

# So many renewals that were missed are a silence when a worker starts: it has often come for one that was killed.
MISSED_AT_START = 1.3


class Relief:
    """Looks whether the broker is there, for suspects, and for all other work in the ledger when it is not."""

    def __init__(self, busy: Callable[[], int]) -> None:
        self._busy = busy  # How many jobs run in this worker now.
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(post().lane.concurrency, thread_name_prefix="celadon-relief")
        self._stopped = threading.Event()
        self.away = False

    def start(self) -> None:
        threading.Thread(target=self._watch, name="celadon-relief", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _watch(self) -> None:
        try:
            solos.warm_up(missed=MISSED_AT_START)
        except Exception as error:  # The next look tells more.
            log.info("relief.not_warmed", error=str(error))
        while not self._stopped.wait(settings().relief_poll_s):
            try:
                # One dropped answer is no outage: it is asked twice.
                away = not settings().use_broker or not (broker.reachable() or broker.reachable())
                if away != self.away:
                    self.away = away
                    log.warning("relief.began" if away else "relief.ended", lane=post().lane.name)
                if not draining():
                    solos.warm_up()
                    # By the clock: the message of a job that was recovered is the last of its queue's backlog.
                    solos.look()
                    self.take(everything=away)
            except LedgerUnavailable as error:
                log.warning("relief.ledger_away", error=str(error))
            except Exception:
                log.exception("relief.failed")

    def take(self, *, everything: bool) -> int:
        """Begin as many queued jobs as there are free slots: all kinds, or those taken off the broker by a switch."""
        wanted: ColumnElement[bool] = jobs.c.quarantine.is_(False)
        if not everything:
            if not switches.off_broker():
                return 0
            wanted = and_(wanted, sending.switched_off())
        lane = post().lane
        with self._lock:
            free = lane.concurrency - max(self._busy(), len(self._taken))
        if free <= 0 or aside.asked():
            return 0
        found = moving.queued_ids(lane.queues, list(registry.known()), free + len(self._taken), only_off=wanted)
        fresh = [job_id for job_id in found if job_id not in self._taken][:free]
        for job_id in fresh:
            if lane.pool == "prefork":
                # The lane's own children can't be reached while its consumer reconnects; a new process can.
                solos.run(job_id)
            else:
                with self._lock:
                    self._taken.add(job_id)
                self._pool.submit(self._run, job_id)
        return len(fresh)

    def _run(self, job_id: str) -> None:
        try:
            work(job_id)
        except Exception:
            log.exception("relief.run_failed", job_id=job_id)
        finally:
            with self._lock:
                self._taken.discard(job_id)
