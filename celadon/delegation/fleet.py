"""A worker of the lane `delegated`: it consumes the queues of the registration file as that is now, and tells of them.

What is consumed is compared with the file every second and made equal to it, in the thread of Celery's consumer. So a
change that came while the broker was away is not lost: it is still to be made when the consumer is back.

A queue is consumed once its limits stand in the ledger, which a scheduler sees to that has the same version of the file
or a later one. Without them a service that hangs would take all slots there are.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from celery import bootsteps

from celadon import lanes, logs, queues
from celadon.app import app, know
from celadon.delegation import file
from celadon.errors import CeladonError, LedgerUnavailable
from celadon.lanes import DELEGATED, Lane
from celadon.ledger import registrations
from celadon.worker import post

log = logs.get("celadon.delegation")

LOOK_S = 1.0


def begin(lane: Lane) -> Lane:
    """The lane as a worker begins it: with the queues that are to be consumed now.

    Raises CeladonError if it can't deliver, or has fewer slots than deliveries may be under way.
    """
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError as error:
        raise CeladonError(
            f"The lane {DELEGATED!r} delivers over HTTP, but its client is missing ({error}); "
            "pip install 'celadon[delegation]'"
        ) from error
    table = file.table()
    if table.concurrency > lane.concurrency:
        raise CeladonError(
            f"The concurrencies of the registration file's queues make {table.concurrency}, and this worker has "
            f"{lane.concurrency} slots, so a hung endpoint could take another queue's; start it with "
            f"--concurrency={table.concurrency} or more, or lower some"
        )
    file.fit(lane.concurrency)
    begun = lanes.declared()[DELEGATED].queues
    with suppress(LedgerUnavailable):  # It is looked at again in a second.
        begun = wanted()
    return replace(lane, queues=begun)


def wanted() -> tuple[str, ...]:
    """What is to be consumed now. Raises LedgerUnavailable."""
    unlimited = set(file.table().queues) - registrations.limited()
    return tuple(queue for queue in queues.lane(DELEGATED).queues if queue not in unlimited)


class FleetStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Follows the file and the limits for as long as the worker runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopped = threading.Event()
        self._consumed = frozenset(post.post().lane.queues)

    def start(self, parent: Any) -> None:
        from celadon.delegation import serving

        threading.Thread(target=self._follow, args=(parent,), name="celadon-fleet", daemon=True).start()
        serving.start()

    def stop(self, parent: Any) -> None:
        from celadon.delegation import serving

        self._stopped.set()
        serving.stop()

    terminate = stop

    def _follow(self, parent: Any) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                self.look(parent)
            except Exception:
                log.exception("fleet.failed")

    def look(self, parent: Any) -> None:
        """See whether what is consumed is what is to be. While the ledger is away, it stays as it is."""
        try:
            now = wanted()
        except LedgerUnavailable:
            return
        if now != post.post().lane.queues:
            post.move(now)  # Presence and relief go by that.
        if self._consumed != frozenset(now) and parent.consumer is not None:
            parent.consumer.call_soon(self.consume, parent.consumer)

    def consume(self, consumer: Any) -> None:
        """Consume what is to be, and nothing else. Called in the consumer's own thread; raises nothing."""
        now = frozenset(post.post().lane.queues)
        try:
            self._begin(consumer.task_consumer, now - self._consumed)
            self._end(consumer.task_consumer, self._consumed - now)
        except Exception as error:  # The broker went away, say; it is looked at again in a second.
            log.warning("fleet.not_consumed", error=f"{type(error).__name__}: {error}")
            return
        if now != self._consumed:
            log.info("fleet.consumes", queues=len(now), new=sorted(now - self._consumed)[:20])
            self._consumed = now

    def _begin(self, consuming: Any, new: frozenset[str]) -> None:
        for name in sorted(new):
            queue = app.amqp.queues.select_add(app.amqp.queues[know(name)])
            if consuming is not None:  # Else there is no connection; the next one consumes what is selected.
                consuming.add_queue(queue)
        if new and consuming is not None:
            consuming.consume()

    def _end(self, consuming: Any, gone: frozenset[str]) -> None:
        for name in gone:
            app.amqp.queues.deselect(name)
            if consuming is not None and consuming.consuming_from(name):
                consuming.cancel_by_queue(name)
