"""`celadon worker LANE`: Celery's worker, working one lane of the ledger's jobs."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import billiard.pool

from celadon import heartbeat, logs, queues, sentry
from celadon.app import app, know, load, patient
from celadon.lanes import DELEGATED
from celadon.metrics import serving
from celadon.settings import settings

# With late acknowledgements a busy prefork pool waits 30 s for results that no longer come when it stops; a tenth of
# that loses nothing, for the ledger has the jobs (found by experiment with billiard 4.3).
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 30


def run(lane_name: str, **instead: str | int | None) -> int:
    """Work a lane until told to stop; the exit code. Raises CeladonError for a lane that is not declared.

    instead: fields of `Lane` that this worker has instead of the lane's; None: the lane's.
    """
    from celadon.worker import consuming, ending, post, remote, steps

    changes: dict[str, Any] = {field: value for field, value in instead.items() if value is not None}
    logs.configure()
    lane = replace(queues.lane(lane_name), **changes)
    if lane.name == DELEGATED:
        from celadon.delegation import fleet

        lane = fleet.begin(lane)
    ending.reap()
    heartbeat.begin()
    heartbeat.keep()
    sentry.start("worker")
    serving.start("worker")
    patient(lane)
    load()
    post.take(lane)
    steps.prepare()
    remote.take_no_orders()
    if lane.pool == "prefork":
        # What is loaded by now is shared with the children and never touched by their garbage collector.
        gc.collect()
        gc.freeze()
    app.steps["worker"].add(steps.LedgerStep)
    app.steps["consumer"].add(consuming.CanaryStep)
    if lane.name == DELEGATED:
        app.steps["worker"].add(fleet.FleetStep)
    app.conf.worker_consumer = "celadon.worker.consumer:PatientConsumer"
    worker = app.Worker(
        hostname=f"{lane.name}@{post.post().boot.replace(':', '-')}",
        pool=lane.pool,
        concurrency=lane.concurrency,
        queues=[know(queue) for queue in lane.queues],
        prefetch_multiplier=lane.prefetch,
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
        loglevel=settings().log_level,
        quiet=True,
    )
    if not lane.queues:
        # Celery takes "none" for "all"; this lane waits for a registration file that names some, and for their limits.
        app.amqp.queues.deselect(list(app.amqp.queues))
    worker.start()
    if ending.wanted_anew():
        ending.begin_anew()
    return int(worker.exitcode or 0)
