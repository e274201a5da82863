"""Jobs alone in processes of their own: in quarantine after a crash, or in relief on a prefork lane.

A worker starts one small launcher when it first needs it. The launcher has everything loaded, runs no threads and
opens no connections, so it can fork a process for a job in milliseconds: all jobs of a worker that was killed are
running again at once, each alone. Whatever kills such a process is known to be that job's doing.

    python -m celadon.worker.solo LANE BOOT REPORTS_FD [METRICS_FOLDER]

reads job ids from standard input; LANE is JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from celadon import drain, keeper, logs, sentry
from celadon.errors import LedgerUnavailable, LostClaim
from celadon.keeper import Keeper, Running
from celadon.ledger import claims
from celadon.ledger.recovery import release_dead
from celadon.metrics import seats
from celadon.worker import post as posts

log = logs.get("celadon.worker.solo")

GIVE_BACK_S = 3.0  # Of the grace: a second more than the worker itself keeps, so that it sees how they ended.


class Solos:
    """The worker's side: hands job ids to the launcher, and recovers what a dead process held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._launcher: subprocess.Popen[bytes] | None = None
        self._under_way: set[str] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def run(self, job_id: str) -> bool:
        """Begin a job alone.

        False: it is under way already, as many run as the lane allows (beside those in its slots), or the worker is
        stopping. The ledger keeps it.
        """
        if drain.draining():
            return False
        with self._lock:
            if job_id in self._under_way or len(self._under_way) >= posts.post().lane.concurrency:
                return False
            stdin = self._launched().stdin
            assert stdin is not None
            try:
                stdin.write(f"{job_id}\n".encode())
                stdin.flush()
            except OSError:
                return False  # The launcher has just died; the next job starts another.
            self._under_way.add(job_id)
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Pass the worker's own stop on; the launcher passes it to the jobs' processes."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.send_signal(number)

    def _launched(self) -> subprocess.Popen[bytes]:
        if self._launcher is None or self._launcher.poll() is not None:
            here = posts.post()
            reading, writing = os.pipe()
            # The lane as this worker has it, which may be told otherwise than the operator's file says.
            lane = json.dumps(asdict(here.lane))
            shared = [str(folder)] if (folder := seats.folder()) else []
            command = [sys.executable, "-m", "celadon.worker.solo", lane, here.boot, str(writing), *shared]
            self._launcher = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,))
            os.close(writing)
            self._under_way.clear()  # The old launcher is gone, and with it the word of what it had begun.
            arguments = (self._launcher, os.fdopen(reading))
            threading.Thread(target=self._hear, args=arguments, name="celadon-solos", daemon=True).start()
        return self._launcher

    def _hear(self, launcher: subprocess.Popen[bytes], reports: IO[str]) -> None:
        """Each line is `JOB_ID PID EXIT_CODE` of a process that has ended."""
        for line in reports:
            job_id, pid, code = line.split()
            if code != "0":
                log.warning("solo.died", job_id=job_id, pid=int(pid), code=int(code))
                try:
                    release_dead(posts.post().of(int(pid)))
                except Exception as error:
                    log.warning("solo.left_to_the_lease", job_id=job_id, error=str(error))
            with self._lock:
                self._under_way.discard(job_id)
        with self._lock:
            if self._launcher is launcher:
                self._under_way.clear()


solos = Solos()


# --- the launcher -------------------------------------------------------------------------------------------------


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
                *ids, rest = (rest + data).split(b"\n")
                for job_id in ids:
                    self._fork(job_id.decode())

    def _fork(self, job_id: str) -> None:
        pid = os.fork()
        if pid:
            self._jobs[pid] = job_id
            return
        code = 1
        try:
            # The job's process, and what it starts, must neither eat the ids of others nor hold the pipes open.
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            signal.set_wakeup_fd(-1)
            for file in (null, self._reports, self._wake_reading, self._wake_writing):
                os.close(file)
            _be_alone(job_id)
            code = 0
        except BaseException:
            log.exception("solo.failed", job_id=job_id)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            report = f"{self._jobs.pop(pid)} {pid} {os.waitstatus_to_exitcode(status)}\n"
            os.write(self._reports, report.encode())

    def _pass_on(self, number: int) -> None:
        for pid in list(self._jobs):
            with suppress(ProcessLookupError):  # Ended, and not collected yet.
                os.kill(pid, number)


def _be_alone(job_id: str) -> None:
    from celadon.run import run_job

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: _stopping())
    keeper.use(Keeper(on_timeout=_out_of_time))
    run_job(job_id, replace(posts.post().runner(), alone=True))
    sentry.flush()


def _stopping() -> None:
    """The worker stops: end at the next step, or give the job back, unburnt, before the grace is over."""
    drain.begin()
    timer = threading.Timer(max(0.0, posts.post().lane.grace_s - GIVE_BACK_S), _give_back)
    timer.daemon = True
    timer.start()


def _give_back() -> None:
    for run in keeper.keeper().running():
        try:
            claims.give_back(run.claim)
        except (LostClaim, LedgerUnavailable):
            continue
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
    Launcher(int(reports)).loop()


if __name__ == "__main__":
    main()
