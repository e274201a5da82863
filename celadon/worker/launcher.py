"""The launcher of jobs that run alone. It has everything loaded, no threads and no connections, and forks in no time.

    python -m celadon.worker.launcher LANE BOOT REPORTS_FD [METRICS_FOLDER]

reads lines `[JOB_ID, EXCLUSIVE]` from standard input, and writes a line `[JOB_ID, PID, EXIT_CODE]` for each process
that has ended. Lines and LANE are JSON: a job that was adopted has the id that its caller gave it, which may hold
anything.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from celadon import drain, keeper, logs, sentry
from celadon.errors import LedgerUnavailable
from celadon.keeper import Keeper, Running
from celadon.ledger import claims, moving
from celadon.ledger.db import engine
from celadon.metrics import seats
from celadon.states import State
from celadon.worker import post as posts

log = logs.get("celadon.worker.solo")

GIVE_BACK_S = 3.0  # Of the grace: a second more than the worker itself keeps, so that it sees how they ended.
PARTING_S = 1.0


class Launcher:
    """Forks a process per job and reports how each ended, until its worker is gone."""

    def __init__(self, reports: int) -> None:
        self._reports = reports
        self._jobs: dict[int, str] = {}
        self._wake_reading, self._wake_writing = os.pipe()
        os.set_blocking(self._wake_writing, False)

    def loop(self) -> None:
        signal.set_wakeup_fd(self._wake_writing)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._pass_on(signal.SIGTERM))
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._wake_reading], [], [])
            if self._wake_reading in ready:
                os.read(self._wake_reading, 4096)
                self._reap()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    self._pass_on(signal.SIGTERM)  # The worker is gone: its jobs end at their next step.
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    job_id, exclusive = json.loads(line)
                    self._fork(job_id, exclusive)

    def _fork(self, job_id: str, exclusive: bool) -> None:
        # A stop that comes before the child has its own handler waits for it, and is not the launcher's there.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid:
            self._jobs[pid] = job_id
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            return
        code = 1
        try:
            # The job's process, and what it starts, must neither eat the ids of others nor hold the pipes open.
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            signal.set_wakeup_fd(-1)
            for file in (null, self._reports, self._wake_reading, self._wake_writing):
                os.close(file)
            _be_alone(job_id, exclusive)
            code = 0
        except LedgerUnavailable as error:  # Before it had its job.
            log.warning("solo.not_begun", job_id=job_id, error=str(error))
        except BaseException:
            log.exception("solo.failed", job_id=job_id)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            report = json.dumps([self._jobs.pop(pid), pid, os.waitstatus_to_exitcode(status)])
            os.write(self._reports, f"{report}\n".encode())

    def _pass_on(self, number: int) -> None:
        for pid in list(self._jobs):
            with suppress(ProcessLookupError):  # Ended, and not collected yet.
                os.kill(pid, number)


def _be_alone(job_id: str, exclusive: bool) -> None:
    from celadon.run import run_job

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    drain.apart()  # A process that is told to stop by itself, by whomever, stops no other.
    signal.signal(signal.SIGTERM, lambda *_: _stopping())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    keeper.use(Keeper(on_timeout=_out_of_time))
    ran = run_job(job_id, replace(posts.post().runner(), alone=True, exclusive=exclusive))
    if ran.why is not None and ran.why.state == State.QUEUED and ran.why.held:
        moving.hold(job_id)
    sentry.flush()


def _stopping() -> None:
    """The worker stops: end at the next step, or give the job back, unburnt, before the grace is over."""
    drain.begin()
    timer = threading.Timer(max(0.0, posts.post().lane.grace_s - GIVE_BACK_S), _give_back)
    timer.daemon = True
    timer.start()


def _give_back() -> None:
    def give_back() -> None:
        with suppress(LedgerUnavailable):
            claims.give_back_all([run.claim for run in keeper.keeper().running()])

    parting = threading.Thread(target=give_back, daemon=True)
    parting.start()
    parting.join(PARTING_S)  # A ledger that hangs gets the job by its lease.
    os._exit(0)


def _out_of_time(running: Running) -> None:
    from celadon.run import end_timed_out

    end_timed_out(running)
    sentry.flush()
    os._exit(0)  # The body can't be stopped otherwise, and has no right to go on.


def main() -> None:
    from celadon.app import load, patient
    from celadon.queues import Lane

    facts, boot, reports, *shared = sys.argv[1:]
    lane = Lane(**json.loads(facts))
    logs.configure()
    sentry.start("worker")
    if shared:
        try:
            seats.join(Path(shared[0]))
        except OSError as error:  # The jobs run, and are not counted.
            log.error("metrics.no_folder", error=str(error))
    patient(lane)
    load()
    posts.take(lane, boot)
    engine()  # Its driver is loaded here, once; connections are each process's own.
    gc.collect()
    gc.freeze()  # What is shared is not copied for the garbage collector's sake.
    Launcher(int(reports)).loop()


if __name__ == "__main__":
    main()
