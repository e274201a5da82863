"""The end of a worker: what runs gets the lane's grace, what is left is given back, and nothing outlasts the grace.

SIGTERM ends the process. A worker that finds itself unfit to go on ends in the same way, and begins anew in the same
process: the shell, the supervisor or the container that started it need not even notice.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import celery.worker.state

from celadon import drain, heartbeat, keeper, logs
from celadon.ledger import claims, presence, sending
from celadon.ledger.db import use_reserve
from celadon.settings import override
from celadon.worker import children
from celadon.worker.post import post
from celadon.worker.solo import solos

log = logs.get("celadon.worker")

EXIT_MARGIN_S = 2.0  # Of the grace: time to give jobs back before the supervisor's SIGKILL.
SETTLE_S = 4.0  # What Celery may take to close its pool and its broker when no job runs any more.

_lock = threading.Lock()
_begun = False
_anew = False


def stop() -> None:
    """Begin to end. May be called from a signal handler, and again; ends a worker that was to begin anew."""
    global _anew
    _anew = False
    _begin()


def anew(reason: str) -> None:
    """Begin to end, and begin anew afterwards. Once the worker is stopping, nothing."""
    global _anew
    if drain.draining():
        return
    _anew = True
    log.error("worker.begins_anew", reason=reason, grace_s=post().lane.grace_s)
    # As Celery's own handler of SIGTERM does. A loop that hangs won't see it, and need not.
    celery.worker.state.should_stop = os.EX_OK
    _begin()


def _begin() -> None:
    global _begun
    drain.begin()
    heartbeat.stopping()
    # No waiting for a lock in a signal handler: who holds it may be the thread that was interrupted.
    if _lock.acquire(blocking=False):
        try:
            if not _begun:
                _begun = True
                threading.Thread(target=_end, name="celadon-grace", daemon=True).start()
        finally:
            _lock.release()


def _end() -> None:
    """Wait for the runs, at most for the grace; then leave, whatever Celery's own shutdown is waiting for."""
    began = time.monotonic()
    until = began + max(0.0, post().lane.grace_s - EXIT_MARGIN_S)
    solos.stop()
    idle_since: float | None = None
    while (now := time.monotonic()) < until:
        if len(keeper.keeper()) or len(solos):
            idle_since = None
        else:
            idle_since = idle_since or now
            if now - idle_since > SETTLE_S:
                break
        time.sleep(0.1)
    log.warning("worker.leaves", after_s=round(time.monotonic() - began, 1), runs=len(keeper.keeper()))
    leave()


def leave() -> NoReturn:
    """Give back what is left, then end or begin anew. Bounded: a ledger that hangs gets its jobs by their leases."""
    parting = threading.Thread(target=_give_back, name="celadon-parting", daemon=True)
    parting.start()
    parting.join(EXIT_MARGIN_S - 0.5)
    if (forked := children.children()) is not None:
        forked.kill_all()
    if _anew:
        begin_anew()
    os._exit(0)


def _give_back() -> None:
    use_reserve()
    try:
        given_back = claims.give_back_all([run.claim for run in keeper.keeper().running()])
        # What was fetched and not begun was sent to this worker and to no other.
        fetched = [request.id for request in list(celery.worker.state.reserved_requests)]
        sending.not_sent(fetched, again_in_s=0)
        presence.leave(post().boot)
        log.info("worker.left", given_back=given_back, fetched=len(fetched))
    except Exception as error:
        log.warning("worker.left_to_the_leases", error=str(error))


def wanted_anew() -> bool:
    """Whether this process is to begin anew when Celery's worker has ended by itself."""
    return _anew


def reap() -> None:
    """Collect what an image before this one left in this process: children that were killed are its children still.

    Called before the process has children of its own.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if left := _children():
        threading.Thread(target=_reap, args=(left,), name="celadon-reaping", daemon=True).start()


def _children() -> set[int]:
    """The children of this process now."""
    here = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return {int(pid) for pid in here.read_text().split()} if here.exists() else set()


def _reap(left: set[int]) -> None:
    """Each by its id: who has other children waits for those itself."""
    while left:
        for pid in list(left):
            try:
                gone = os.waitpid(pid, os.WNOHANG)[0] != 0
            except ChildProcessError:
                gone = True
            if gone:
                left.discard(pid)
        time.sleep(1)


def begin_anew() -> NoReturn:
    """Replace this process by the command that it was started with."""
    override(prometheus_multiproc_dir=None)
    for descriptor in Path("/proc/self/fd").iterdir():
        if int(descriptor.name) > 2:  # Whatever a library left open to be inherited.
            try:
                os.set_inheritable(int(descriptor.name), False)
            except OSError:
                continue
    sys.stdout.flush()
    sys.stderr.flush()
    # Asked once more, with the stop held back from here on, which the next image hears of.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if not _anew:
        os._exit(0)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
