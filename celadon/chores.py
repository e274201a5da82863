"""What the scheduler does at each tick: promote, release, reap, expire, unpark, alert, prune."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from celadon import alerts, broker, logs, registry
from celadon.errors import LedgerUnavailable
from celadon.ledger import moving, presence, recovery, retention, sending
from celadon.ledger.alerts import write_backlog_alert
from celadon.ledger.db import clock, reading
from celadon.sender import Sender
from celadon.settings import settings

log = logs.get("celadon.scheduler")

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
            for one in recovered:
                log.warning("job.recovered", job_id=one.job_id, job=one.name, state=one.state)
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
        self._mailing = threading.Lock()

    def tick(self) -> None:
        """One round. A chore that fails is logged and does not keep the others. Raises LedgerUnavailable."""
        moved = self._every(0, "promote", moving.promote)
        moved += self._every(0, "release", moving.release)
        moved += self._every(0, "reap", self._reaper.tick)
        moved += self._every(1, "unpark", self._unpark)
        if moved:
            self._sender.wake()
        self._every(1, "expire", moving.expire)
        self._every(1, "alerts", self._send_alerts)
        self._every(5, "backlog", self._watch_backlog)
        self._every(10, "prune", self._prune)
        self._every(60, "forget", self._forget)

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

    def _unpark(self) -> int:
        known = {name for worker in presence.alive() for name in worker.tasks}
        return moving.unpark(known)

    def _send_alerts(self) -> int:
        # A mail server may take its time; the clock of the jobs may not.
        if self._mailing.acquire(blocking=False):
            threading.Thread(target=self._mail, name="celadon-alerts", daemon=True).start()
        return 0

    def _mail(self) -> None:
        try:
            alerts.send_due()
        except LedgerUnavailable:
            log.info("alerts.ledger_away")
        except Exception:
            log.exception("alerts.failed")
        finally:
            self._mailing.release()

    def _watch_backlog(self) -> int:
        """Tell the administrator of work that waits because the broker is away. It costs nothing while it is there."""
        if settings().use_broker and not broker.circuit.open:
            return 0
        backlog = sending.backlog()
        reason = broker.circuit.reason or "it is switched off (USE_BROKER)"
        log.warning("broker.away", queued=backlog.count, oldest_s=round(backlog.oldest_s, 1), reason=reason)
        if backlog.oldest_id is not None and backlog.oldest_s > BACKLOG_ALERT_S:
            write_backlog_alert(backlog.oldest_id, backlog.count, backlog.oldest_s, reason)
        return 0

    def _prune(self) -> int:
        removed = 0
        for name in retention.names():
            definition = registry.known().get(name)
            keep = definition.keep if definition else 1000
            keep_for = definition.keep_for if definition else timedelta(days=7)
            keep_bytes = definition.keep_bytes if definition else None
            removed += retention.prune(name, keep=keep, keep_for=keep_for, keep_bytes=keep_bytes)
        if removed:
            log.info("ledger.pruned", jobs=removed)
        return removed

    def _forget(self) -> int:
        presence.forget()
        return retention.forget_keys()
