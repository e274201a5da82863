"""What a worker does on Celery's remote control: it answers questions, and takes no orders that pass the ledger by.

Whoever may write to the broker, as Flower may to the channel of remote control, could else stop lanes, or make a worker
drop a job's messages without a trace (`revoke`). Jobs are cancelled, and queues paused, in the ledger.
"""

from __future__ import annotations

from celery.worker.control import Panel

# Orders that change nothing about jobs: telling of tasks (which Flower asks for), and being heard.
HARMLESS = frozenset({"enable_events", "disable_events", "heartbeat"})


def take_no_orders() -> None:
    for name, command in Panel.meta.items():
        if command.type == "control" and name not in HARMLESS:
            Panel.data.pop(name, None)
