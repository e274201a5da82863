"""Celery's consumer, which outlives its broker: quick reconnects, and nothing is asked of a connection that is gone."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer
from kombu.transport import virtual

RECONNECT_STEP_S = 0.5
RECONNECT_MAX_S = 2.0  # Celery's own pauses grow to thirty.


class PatientConsumer(Consumer):  # type: ignore[misc]
    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_STEP_S,
            interval_step=RECONNECT_STEP_S,
            interval_max=RECONNECT_MAX_S,
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        forget_messages(self.connection)
        super().on_connection_error_after_connected(exc)


def forget_messages(connection: Any) -> None:
    """Neither give back nor acknowledge the messages of a connection that is gone.

    kombu 5.7 tries both, on channels that no longer know their server; the AttributeError of it ends the worker. The
    broker, if it remembers them, hands the messages out again, and the ledger drops those whose job has moved on.
    """
    for channel in list(getattr(connection.transport, "channels", None) or ()):
        held = getattr(channel, "_qos", None)
        if isinstance(held, virtual.QoS):
            held._on_collect.cancel()  # It would give them back when the process ends.
            channel._qos = Forgotten(channel)


class Forgotten(virtual.QoS):
    """The book of unacknowledged messages of a lost connection: whatever is written in it goes nowhere."""

    restore_at_shutdown = False

    def __init__(self, channel: Any) -> None:
        super().__init__(channel)  # type: ignore[no-untyped-call]

    def append(self, message: Any, delivery_tag: Any) -> None:
        pass

    def ack(self, delivery_tag: Any) -> None:
        pass

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        pass
