"""What the scheduler does at each tick: promote, release, reap, expire, unpark, alert, call back, prune."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from celadon import alerts, broker, logs, registry
from celadon.delegation.telling import Telling
from celadon.errors import LedgerUnavailable
from celadon.ledger import ahead, moving, presence, recovery, retention, sending
from celadon.ledger.alerts import write_backlog_alert
from celadon.ledger.db import clock, reading
from celadon.metrics.readings import LEDGER
from celadon.sender import Sender
from celadon.settings import settings

log = logs.get("celadon.scheduler")

KEEP_UNDECLARED, KEEP_UNDECLARED_FOR = 1000, timedelta(days=7)  # Of jobs whose declaration is gone.
SOON_S = 0.05  # Shortest pause before a job that is due soon: a stream of them costs a few rounds, not one each.
COUNT_S = 15  # As often as Prometheus looks by custom.
BACKLOG_ALERT_S = 60.0  # How long a job may wait, with the broker away, before the administrator is told.


class Reaper:
    """Puts back jobs whose lease ran out, unless it is the ledger that was away.

    It judges the ledger by its own writes. After a gap between its good ticks longer than half a lease it waits one
    full lease, so that living workers can renew first; leases that ran out by then were lost by nobody's crash.
    """

    def __init__(self) -> None:
        self._last_good: float | None = None
        self._wait_until = 0.0
        self._amnesty_until: datetime | None = None

    def tick(self) -> int:
        now, lease_s = time.monotonic(), settings().lease_s
        if self._last_good is None or now - self._last_good > lease_s / 2:
            with reading() as connection:
                self._amnesty_until = clock(connection) + timedelta(seconds=lease_s)
            self._wait_until = now + lease_s
            log.info("reaper.waits", seconds=lease_s, first=self._last_good is None)
        recovered = []
        if now >= self._wait_until:
            recovered = recovery.reap(amnesty_until=self._amnesty_until)
        else:
            # Nothing to judge yet, but the next tick has to know that the ledger took a write.
            recovery.reap(limit=0)
        self._last_good = time.monotonic()
        return len(recovered)


class Chores:
    """All chores, each at its own pace. Any number of schedulers may do them at once."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._reaper = Reaper()
        self._due: dict[str, float] = {}
        self._aside = {name: threading.Lock() for name in ("alerts", "callbacks", "prune", "count")}
        self._callbacks = Telling()
        self._outage_told = False

    def tick(self) -> float:
        """One round; how many seconds there is time until the next. A chore that fails is logged and keeps no other.

        Raises LedgerUnavailable.
        """
        before = ahead.look()
        promoted = self._every(0, "promote", moving.promote) if before.due else 0
        moved = promoted
        if before.waiting:
            moved += self._every(0, "release", moving.release)
        moved += self._every(settings().tick_s, "reap", self._reaper.tick)
        if before.parked:
            moved += self._every(1, "unpark", self._unpark)
        if moved:
            self._sender.wake()
        if before.expired:
            self._every(1, "expire", moving.expire)
        self._every(5, "backlog", self._watch_backlog)
        self._every(1, "alerts", lambda: self._do_aside("alerts", alerts.send_due))
        self._every(1, "callbacks", lambda: self._do_aside("callbacks", self._callbacks.turn))
        self._every(10, "prune", lambda: self._do_aside("prune", prune))
        if settings().metrics_bind:
            self._every(COUNT_S, "count", lambda: self._do_aside("count", LEDGER.take))
        if promoted >= moving.BATCH:
            return 0.0
        soon = settings().tick_s if before.next_due_s is None else max(SOON_S, before.next_due_s)
        return min(soon, settings().tick_s)

    def _every(self, seconds: float, name: str, chore: Callable[[], int]) -> int:
        now = time.monotonic()
        if now < self._due.get(name, 0.0):
            return 0
        self._due[name] = now + seconds
        try:
            return chore()
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("chore.failed", chore=name)
            self._due[name] = now + max(seconds, 5)
            return 0

    def _do_aside(self, name: str, chore: Callable[[], int]) -> int:
        """Do a chore that may take its time on a thread of its own: the clock of the jobs may not wait for it."""
        if self._aside[name].acquire(blocking=False):
            threading.Thread(target=self._do, args=(name, chore), name=f"celadon-{name}", daemon=True).start()
        return 0

    def _do(self, name: str, chore: Callable[[], int]) -> None:
        try:
            chore()
        except LedgerUnavailable:
            log.info("chore.ledger_away", chore=name)
        except Exception:
            log.exception("chore.failed", chore=name)
        finally:
            self._aside[name].release()

    def _unpark(self) -> int:
        return moving.unpark({(worker.queues, worker.tasks) for worker in presence.alive() if worker.queues})

    def _watch_backlog(self) -> int:
        """Tell the administrator, once per outage, of work that waits because the broker is away."""
        if settings().use_broker and not broker.circuit.open:
            self._outage_told = False
            return 0
        backlog = sending.backlog()
        reason = broker.circuit.reason or "it is switched off (USE_BROKER)"
        log.warning("broker.away", queued=backlog.count, oldest_s=round(backlog.oldest_s, 1), reason=reason)
        if backlog.oldest_s > BACKLOG_ALERT_S and not self._outage_told:
            write_backlog_alert(backlog.count, backlog.oldest_s, reason)
            self._outage_told = True
        return 0


def prune() -> int:
    """Remove what is no longer to be kept, of all names; how many jobs went."""
    removed = 0
    for name in retention.names():
        rule = registry.known().get(name)
        batch = retention.BATCH
        while batch == retention.BATCH:
            batch = retention.prune(
                name,
                keep=rule.keep if rule else KEEP_UNDECLARED,
                keep_for=rule.keep_for if rule else KEEP_UNDECLARED_FOR,
                keep_bytes=rule.keep_bytes if rule else None,
                keep_dead_for=rule.keep_dead_for if rule else None,
            )
            removed += batch
    retention.forget_keys()
    retention.forget_audit()
    presence.forget()
    if removed:
        log.info("ledger.pruned", jobs=removed)
    return removed
