"""Slots of a thread lane that are lost to runs out of time: a thread can't be killed, so they are counted."""

from __future__ import annotations

import threading

from celadon import logs
from celadon.jobs import Claim
from celadon.keeper import Running, keeper
from celadon.run import end_timed_out
from celadon.worker import ending
from celadon.worker.post import post

log = logs.get("celadon.worker.slots")

_lock = threading.Lock()
_lost: set[tuple[str, int]] = set()


def lost() -> int:
    return len(_lost)


def too_many() -> bool:
    """Half of the slots are gone: the worker is worth more when it starts anew."""
    return bool(_lost) and len(_lost) * 2 >= post().lane.concurrency


def out_of_time(running: Running) -> None:
    """Depart for a thread's run, count its slot as lost, and begin the worker anew when too many are."""
    end_timed_out(running)
    with _lock:
        # It may have ended by itself just now; then its keeper has let go of it, and its slot is whole.
        if not any(other is running for other in keeper().running()):
            return
        _lost.add(running.pair)
    log.warning("worker.slot_lost", lost=lost(), of=post().lane.concurrency)
    if too_many():
        ending.anew(f"{lost()} of {post().lane.concurrency} slots are lost to jobs that ran out of time")


def returned(claim: Claim) -> None:
    """A run has come back, however late: its slot is whole again."""
    with _lock:
        _lost.discard((claim.job_id, claim.epoch))
