"""What the examples stand on: a ledger of their own, and no broker, so that jobs run in this very process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celadon import logs, registry
from celadon.inline import run_inline
from celadon.ledger import db, moving
from celadon.ledger.migrate import migrate
from celadon.queues import lanes
from celadon.settings import override


@contextmanager
def scratch_ledger() -> Iterator[None]:
    """An SQLite ledger in a temporary folder, removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        override(ledger_url=f"sqlite:///{Path(folder) / 'ledger.db'}", use_broker="false", log_level="ERROR")
        logs.configure()
        migrate()
        try:
            yield
        finally:
            db.reset()


def run_what_is_due() -> None:
    """What Beat and the workers do all the time, done once: due jobs are queued, queued jobs are run."""
    moving.promote()
    for queue in (queue for lane in lanes().values() for queue in lane.queues):
        for job_id in moving.queued_ids([queue], registry.known(), limit=100):
            run_inline(job_id, queue)
