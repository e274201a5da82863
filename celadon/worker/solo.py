"""One job alone in a process of its own: in quarantine after a crash, or in relief on a prefork lane.

python -m celadon.worker.solo JOB_ID LANE BOOT
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from types import FrameType

from celadon import drain, keeper, logs
from celadon.errors import LedgerUnavailable
from celadon.keeper import Keeper, Running
from celadon.ledger.recovery import release_dead
from celadon.worker import post as posts

log = logs.get("celadon.worker.solo")

_children: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def run(job_id: str) -> None:
    """Run a job alone and wait for it. If its process dies, what it held is recovered at once."""
    here = posts.post()
    command = [sys.executable, "-m", "celadon.worker.solo", job_id, here.lane.name, here.boot]
    log.info("solo.started", job_id=job_id)
    child = subprocess.Popen(command)
    with _lock:
        _children.add(child)
    try:
        code = child.wait()
    finally:
        with _lock:
            _children.discard(child)
    if code != 0:
        log.warning("solo.died", job_id=job_id, code=code)
        try:
            release_dead(here.of(child.pid))
        except LedgerUnavailable as error:
            log.warning("solo.left_to_the_lease", job_id=job_id, error=str(error))


def stop_all(number: int = signal.SIGTERM) -> None:
    """Pass the worker's own stop on to the processes it started."""
    with _lock:
        for child in _children:
            child.send_signal(number)


def _out_of_time(running: Running) -> None:
    from celadon.run import end_timed_out

    end_timed_out(running)
    os._exit(0)  # The body can't be stopped otherwise, and has no right to go on.


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    drain.begin()


def main() -> None:
    job_id, lane_name, boot = sys.argv[1:4]
    from celadon.app import load, patient
    from celadon.queues import lane
    from celadon.run import run_job

    signal.signal(signal.SIGTERM, _on_sigterm)
    logs.configure()
    patient(lane(lane_name))
    load()
    here = posts.take(lane(lane_name), boot)
    keeper.use(Keeper(on_timeout=_out_of_time))
    run_job(job_id, replace(here.runner(), alone=True))


if __name__ == "__main__":
    main()
