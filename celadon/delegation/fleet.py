"""A worker of the lane `delegated`: it consumes the queues of the registration file as that is now, and tells of them.

What is consumed is compared with the file every second and made equal to it, in the thread of Celery's consumer. So a
change that came while the broker was away is not lost: it is still to be made when the consumer is back.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import bootsteps

from celadon import logs, queues
from celadon.app import app, know
from celadon.lanes import DELEGATED
from celadon.worker import post

log = logs.get("celadon.delegation")

LOOK_S = 1.0


class FleetStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Follows the file for as long as the worker runs."""

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
                wanted = queues.lane(DELEGATED).queues
                if wanted != post.post().lane.queues:
                    post.move(wanted)  # Presence and relief go by that.
                if self._consumed != frozenset(wanted) and parent.consumer is not None:
                    parent.consumer.call_soon(self.consume, parent.consumer)
            except Exception:
                log.exception("fleet.failed")

    def consume(self, consumer: Any) -> None:
        """Consume what the file says, and nothing else. Called in the consumer's own thread; raises nothing."""
        try:
            wanted = frozenset(queues.lane(DELEGATED).queues)
            self._begin(consumer.task_consumer, wanted - self._consumed)
            self._end(consumer.task_consumer, self._consumed - wanted)
        except Exception as error:  # The broker went away, say; it is looked at again in a second.
            log.warning("fleet.not_consumed", error=f"{type(error).__name__}: {error}")
            return
        if wanted != self._consumed:
            log.info("fleet.consumes", queues=len(wanted), new=sorted(wanted - self._consumed)[:20])
            self._consumed = wanted

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
