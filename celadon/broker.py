"""Telling the broker: the one place that sends, behind one circuit.

Failure policy: a send is bounded by the producer's socket timeouts (about 0.16 s); the first connection error or
time-out opens the circuit; while it is open nobody waits; a background probe closes it. What was not, or only maybe,
sent is in the ledger and will be sent again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis
from celery.exceptions import QueueNotFound
from kombu import Connection, Producer, Queue
from kombu.exceptions import BatchPublishError, KombuError, LimitExceeded

from celadon import telemetry
from celadon.app import app, know
from celadon.redis import get_redis
from celadon.settings import settings

PROBE_FIRST_S = 0.25  # A blip is over soon; an outage is asked about every PROBE_LAST_S.
PROBE_LAST_S = 2.0
PROBE_KEY = "celadon:probe"
BATCH = 250  # Messages a batch: its answers have to come within the time-out of one.
HEADER = "celadon"  # Marks our messages, so that others' can be told apart.


class NotSent(Exception):
    """The broker did not say yes."""

    def __init__(self, reason: str, *, maybe: bool = False, lasting: bool = True) -> None:
        self.reason = reason
        self.maybe = maybe  # It may have arrived all the same: the answer was late or lost.
        self.lasting = lasting  # The broker is away, and the next message would fare no better.
        super().__init__(reason)


class Circuit:
    """Whether the broker is worth trying. One per process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self.reason = ""

    @property
    def open(self) -> bool:
        return self._open

    def trip(self, reason: str) -> None:
        """Open it, and begin to ask in the background whether the broker is back."""
        with self._lock:
            if self._open:
                return
            self._open, self.reason = True, reason
            telemetry.circuit(is_open=True, reason=reason)  # In here, so that what is told last is so.
        threading.Thread(target=self._ask, name="celadon-broker-probe", daemon=True).start()

    def _ask(self) -> None:
        pause = PROBE_FIRST_S
        while True:
            time.sleep(pause)
            if reachable():
                break
            pause = min(pause * 2, PROBE_LAST_S)
        with self._lock:
            self._open, self.reason = False, ""
            telemetry.circuit(is_open=False)


circuit = Circuit()


def _after_fork() -> None:
    # The probing thread stayed in the parent.
    global circuit
    circuit = Circuit()


os.register_at_fork(after_in_child=_after_fork)


def send(job_id: str, name: str, queue: str, *, pickup: bool = False) -> None:
    """Ring: put the job's id into its queue. Raises NotSent.

    The message carries the id and nothing else. It goes to the queue by name over the default exchange, so that a
    broker that was wiped needs no bindings.
    """
    with _producer() as producer:
        _send(producer, job_id, name, queue, pickup)


def send_many(jobs: Iterable[tuple[str, str, str]]) -> None:
    """Ring for many jobs, each (id, name, queue), over one connection, a batch at a time: four times as fast.

    Raises NotSent: the batches before have arrived, and of the one that failed nothing, unless `maybe` is said of it.
    """
    with _producer() as producer, producer.batch(max_size=BATCH):
        for job_id, name, queue in jobs:
            _send(producer, job_id, name, queue, pickup=False)


def whistle(queue: Queue) -> None:
    """Put an empty message into a queue of the caller's own. Raises NotSent."""
    with _producer() as producer:
        producer.publish("", exchange="", routing_key=queue.name, declare=[queue])


def _send(producer: Producer, job_id: str, name: str, queue: str, pickup: bool) -> None:
    app.send_task(
        name,
        args=(),
        kwargs={},
        task_id=job_id,
        queue=know(queue),
        headers={HEADER: 1, "pickup": 1} if pickup else {HEADER: 1},
        ignore_result=True,
        argsrepr="",
        kwargsrepr="",
        expires=None,
        time_limit=None,
        soft_time_limit=None,
        producer=producer,
        declare=(),  # Redis makes a list as it is pushed to; to be asked for it first costs a third of a send.
    )


@contextmanager
def _producer() -> Iterator[Producer]:
    """A connection to send over, if the circuit allows it. What fails inside is judged, and raised as NotSent."""
    if circuit.open:
        raise NotSent(f"the broker is away ({circuit.reason})")
    try:
        with app.producer_or_acquire() as producer:
            if circuit.open:  # It opened while this thread waited for one of the few producers.
                raise NotSent(f"the broker is away ({circuit.reason})")
            yield producer
    except (KombuError, QueueNotFound, redis.RedisError, OSError) as error:
        reason, maybe, lasting = _judge(error)
        if lasting:
            circuit.trip(reason)
        raise NotSent(reason, maybe=maybe, lasting=lasting) from error


def _judge(error: BaseException) -> tuple[str, bool, bool]:
    """(reason, maybe it arrived, the broker is away) of a failed send."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if isinstance(cause, (redis.TimeoutError, TimeoutError)):
            return f"no answer in time: {text}", True, True
        if isinstance(cause, ConnectionRefusedError) or "refused" in text.lower():
            return f"connection refused: {text}", False, True
        if isinstance(cause, QueueNotFound):
            return f"no queue of that name is declared: {text}", False, False
        if isinstance(cause, LimitExceeded):
            return "all connections to the broker are in use", False, False
        if isinstance(cause, redis.ResponseError):
            # Full or read-only: it is there, and of no use. Of a batch it may have taken the first before it was full.
            return f"refused by the broker: {text}", isinstance(error, BatchPublishError), True
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {str(error)[:200]}", True, True


def reachable() -> bool:
    """Whether the broker takes writes, asked within the bounds of a producer's connection.

    A full or read-only Redis answers a ping, but is of no use.
    """
    try:
        if settings().redis == settings().broker_url:
            return bool(get_redis().set(PROBE_KEY, "1", px=1000))
        return _handshake()
    except Exception:
        return False


def _handshake() -> bool:
    tight = {"socket_timeout": 0.15, "socket_connect_timeout": 0.1, "max_retries": 0}
    options = {**app.conf.broker_transport_options, **tight}
    with Connection(settings().broker_url, transport_options=options, connect_timeout=0.1) as connection:
        # The transport's own channel: `default_channel` would try again for seconds.
        channel = connection.transport.create_channel(connection.transport)
        try:
            return bool(channel.client.set(PROBE_KEY, "1", px=1000))
        finally:
            channel.close()
