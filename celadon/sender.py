"""Sending what the ledger says is due to be sent: a thread of its own, so that a slow broker delays nothing else."""

from __future__ import annotations

import threading
import time
from itertools import groupby
from operator import attrgetter

import redis

from celadon import broker, logs
from celadon.errors import LedgerUnavailable
from celadon.ledger import sending
from celadon.ledger.sending import ToSend
from celadon.queues import lane_of, names
from celadon.redis import get_redis
from celadon.settings import settings

log = logs.get("celadon.sender")

_queue = attrgetter("queue")

BATCH = broker.BATCH  # Messages between two looks at the ledger.
UNACKED_LATELY_S = 10  # Messages delivered so lately may be about to be claimed; older ones are with a dead worker.
ONE_MORE_S = 10.0  # Between two resends of the oldest overdue job of a queue that seems to be all on the broker.
LOOK_AGAIN_S = 2.0  # Between two counts of a queue whose backlog is all on the broker.


class Sender:
    """First sends of promoted and recovered jobs, and bounded resends of those nobody claimed."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._not_before: dict[str, float] = {}
        self._one_more: dict[str, float] = {}
        self._next_resend = 0.0

    def start(self) -> None:
        threading.Thread(target=self._loop, name="celadon-sender", daemon=True).start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def stop(self) -> None:
        """End after the turn under way, without waiting for that: it may wait for a transaction of the caller's."""
        self._stop.set()
        self._wake.set()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(settings().tick_s)
            self._wake.clear()
            try:
                self.turn()
            except LedgerUnavailable as error:
                log.warning("sender.ledger_away", error=str(error))
                self._stop.wait(1)
            except Exception:
                log.exception("sender.failed")
                self._stop.wait(1)

    def turn(self) -> int:
        """Send what is due now; how many were sent. While the broker is away nothing is taken."""
        if not settings().use_broker or broker.circuit.open:
            return 0
        sent = 0
        while not self._stop.is_set():
            batch = sending.take_unsent(BATCH)
            sent += self._send(batch)
            if len(batch) < BATCH or broker.circuit.open:
                break
        if time.monotonic() >= self._next_resend:
            self._next_resend = time.monotonic() + settings().resend_after_s / 5
            for queue in sending.overdue_queues():
                sent += self._resend(queue)
        return sent

    def _resend(self, queue: str) -> int:
        """Send again at most (queued rows − messages on the broker), so that a backlog is not doubled."""
        if time.monotonic() < self._not_before.get(queue, 0.0):
            return 0
        on_broker = broker_depth(queue)
        if on_broker is None:
            return 0
        missing = sending.depth(queue, on_broker + BATCH) - on_broker
        if missing <= 0:
            self._not_before[queue] = time.monotonic() + LOOK_AGAIN_S
            if time.monotonic() < self._one_more.get(queue, 0.0):
                return 0
            # Both counts move while they are taken; one job now and then makes sure that none waits for ever.
            self._one_more[queue] = time.monotonic() + ONE_MORE_S
            missing = 1
        batch = sending.take_overdue(queue, min(missing, BATCH))
        if batch:
            log.info("sender.resent", queue=queue, jobs=len(batch), on_broker=on_broker)
        return self._send(batch)

    def _send(self, batch: list[ToSend]) -> int:
        # All of a queue at once, and each queue by itself: one that is no longer declared keeps no other waiting.
        groups = [list(jobs) for _, jobs in groupby(sorted(batch, key=_queue), key=_queue)]
        sent = 0
        for done, jobs in enumerate(groups):
            try:
                broker.send_many(jobs)
                sent += len(jobs)
            except broker.NotSent as error:
                log.warning("sender.not_sent", queue=jobs[0].queue, jobs=len(jobs), reason=error.reason)
                if error.lasting:
                    # What may have arrived stays as it was taken, to be sent again no sooner than usual.
                    left = [job.job_id for later in groups[done + error.maybe :] for job in later]
                    sending.not_sent(left, again_in_s=0.5)
                    break
        return sent


def broker_depth(queue: str) -> int | None:
    """Messages that the broker holds for queued jobs of the queue, those just handed to a worker among them.

    None: it can't be asked.
    """
    try:
        client = get_redis()
        seconds = int(client.time()[0])
        index = f"unacked_index:{lane_of(queue).name}" if queue in names() else "unacked_index"
        with client.pipeline(transaction=False) as pipe:
            pipe.llen(queue)
            pipe.zcount(index, seconds - UNACKED_LATELY_S, "+inf")
            waiting, unacked = pipe.execute()
        # Most messages that were delivered lately belong to jobs that run by now, and those are not queued.
        running = sending.running_lately(queue, UNACKED_LATELY_S)
        return int(waiting) + max(0, int(unacked) - running)
    except redis.RedisError:
        return None
