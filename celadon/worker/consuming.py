"""Whether the worker still consumes: a worker that lives and takes no more jobs is found, and begins anew.

It is well if it looked for messages lately, if all its slots are taken, or if the broker or the ledger is known to be
away. Else it sends a message to a queue of its own. If that does not come back, nothing else would either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import kombu
from celery import bootsteps
from kombu import Queue
from kombu.common import ignore_errors

from celadon import broker, drain, logs
from celadon.settings import settings
from celadon.worker import ending
from celadon.worker.post import post

log = logs.get("celadon.worker.consuming")

LOOK_S = 1.0
LATE_S = 5.0  # A look that late: the whole process stood still, and its consumer has to be given its time again.
EXPIRES_S = 300  # A queue that nobody asks for any more goes away by itself.

_heard_at = 0.0  # When the last message of our own came back.


def queue() -> Queue:
    """A queue that this start of this worker alone consumes; on Redis it is a list that expires."""
    name = f"celadon.canary.{post().boot}"
    return Queue(name, routing_key=name, queue_arguments={"x-expires": EXPIRES_S * 1000})


def _heard(_message: Any) -> None:
    global _heard_at
    _heard_at = time.monotonic()


class CanaryStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumes our own queue over the channel of the tasks: what stops the one stops the other."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._consumer: kombu.Consumer | None = None

    def start(self, parent: Any) -> None:
        channel = parent.task_consumer.channel
        self._consumer = kombu.Consumer(channel, queues=[queue()], on_message=_heard, no_ack=True)
        self._consumer.consume()

    def stop(self, parent: Any) -> None:
        if self._consumer is not None:
            ignore_errors(parent, self._consumer.cancel)
            self._consumer = None

    shutdown = stop


class Watch:
    """Looks every second, on a thread of its own: the consumer's own loop may be what hangs.

    consumer: Celery's. full: whether a job runs in every slot. away: whether the broker or the ledger is known to be.
    """

    def __init__(self, *, consumer: Callable[[], Any], full: Callable[[], bool], away: Callable[[], bool]) -> None:
        self._consumer, self._full, self._away = consumer, full, away
        self._looked_at = self._well_at = time.monotonic()
        self._sent_at: float | None = None

    def start(self) -> None:
        threading.Thread(target=self._watch, name="celadon-consuming", daemon=True).start()

    def satisfied(self) -> bool:
        """Whether the worker is not known to be unfit: it consumes, is being tested, or ends within its grace."""
        allowed = post().lane.grace_s if drain.draining() else settings().stall_s + settings().canary_s
        return time.monotonic() - self._well_at < allowed + 2 * LATE_S

    def _watch(self) -> None:
        while not drain.draining():
            try:
                self.look()
            except Exception:
                log.exception("consuming.failed")
            time.sleep(LOOK_S)
        self.ends()

    def ends(self) -> None:
        """The worker stops, or begins anew: from now on it has its grace."""
        self._well_at = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        stood_still, self._looked_at = now - self._looked_at > LATE_S, now
        if stood_still or self._full() or self._away():
            self._well_at = now
        else:
            self._well_at = max(self._well_at, self._polled_at(), _heard_at)
        if now - self._well_at < settings().stall_s:
            self._sent_at = None
        elif self._sent_at is None:
            self._send(now)
        elif now - self._sent_at >= settings().canary_s:
            ending.anew(f"it takes no messages, not even its own of {now - self._sent_at:.0f} s ago")

    def _polled_at(self) -> float:
        """When the loop last asked for messages, as it does every second on Redis unless it holds all it may.

        0: not known, of a broker that pushes them.
        """
        channel = getattr(getattr(self._consumer(), "task_consumer", None), "channel", None)
        return getattr(channel, "_brpop_sent_at", None) or 0.0

    def _send(self, now: float) -> None:
        try:
            broker.whistle(queue())
        except broker.NotSent as error:
            log.warning("consuming.not_tested", reason=error.reason)
            self._well_at = now  # Nothing is known of a broker that takes no message.
        else:
            self._sent_at = now
            log.warning("consuming.tested", silent_s=round(now - self._well_at, 1))
