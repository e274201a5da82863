"""The edges of submit and run, where a fault may strike: the platform's own functions, wrapped from outside.

The platform has no hook for this. `install` replaces a function in every module of the platform that holds it, so
that it does not matter how a caller imported it; a function that is no longer there fails the import of the fence's
jobs, and with it the whole run.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import kombu.transport.redis
import redis
import redis.connection

import celadon.beat
import celadon.broker
import celadon.firing
import celadon.ledger.claims
import celadon.ledger.limits
import celadon.ledger.marks
import celadon.ledger.places
import celadon.ledger.schedules
import celadon.ledger.writing
import celadon.releaser
import celadon.run
import celadon.sender
import celadon.worker.consuming
import celadon.worker.ending
import celadon.worker.post
import celadon.worker.solo
from celadon.errors import LostClaim
from celadon.jobs import Claim
from tests.fence import history
from tests.fence.faults import TIME_OUT, Faults, strike
from tests.fence.zygote import Launcher

FAULTS = Faults(Path(os.environ["FENCE_DIR"]) / "faults")

_here = threading.local()
_role = "worker"
_history: Path


def play(role: str) -> None:
    """Say what this process is: `submitter`, `beat`, `solo` (a process for one job), or by default `worker`."""
    global _role
    _role = role


def running() -> Claim:
    """The claim under which this thread runs a job."""
    claim: Claim = _here.claim
    return claim


def passing(edge: str, label: str = "") -> None:
    """Here a fault may strike. Its name is `default.in_step`, `inline.before_finish`, `submitter.before_insert`."""
    claim: Claim | None = getattr(_here, "claim", None)
    if claim is None or _role == "solo":
        suffer(f"{_role}.{edge}", label)
    if claim is not None:
        suffer(f"{place(claim)}.{edge}", label)


def place(claim: Claim) -> str:
    return "inline" if claim.engine == "inline" else claim.queue


def label_of(claim: Claim) -> str:
    """What a job is called in the history: of a schedule, whose jobs have one payload, by the job's id besides."""
    label: str = claim.payload["label"]
    return f"{label}@{claim.job_id}" if claim.schedule else label


def suffer(name: str, label: str = "") -> None:
    action = FAULTS.take(name, label)
    if action is not None:
        history.append(_history, "fault", edge=name, action=action, label=label)
        strike(action, FAULTS, getattr(_here, "claim", None), label)


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace `owner.name` by `around(original, *args, **kwargs)`, wherever the platform holds it."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, wrapped)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("celadon"):
            for held, value in list(vars(module).items()):
                if value is original:
                    setattr(module, held, wrapped)


def install(file: Path) -> None:
    """Wrap the edges of this process; `file` is the history."""
    global _history
    _history = file
    wrap(celadon.ledger.writing, "insert_job", _insert)
    wrap(celadon.broker, "send", _send)
    wrap(redis.connection.AbstractConnection, "send_packed_command", _send_bytes)
    wrap(celadon.run, "run_job", _run)
    wrap(celadon.ledger.claims, "claim", _claim)
    for departure in ("finish", "fail", "sleep", "give_back", "give_back_late"):
        wrap(celadon.ledger.claims, departure, functools.partial(_depart, departure))
    wrap(celadon.ledger.claims, "fence", _fence)
    wrap(celadon.ledger.marks, "start", _begin_step)
    wrap(celadon.ledger.places, "start_later", _start_later)
    wrap(celadon.ledger.limits, "release", _release)
    wrap(celadon.ledger.schedules, "fire", _fire)
    wrap(celadon.firing, "fire_due", _look)
    wrap(kombu.transport.redis.Channel, "_brpop_start", _poll)
    wrap(celadon.worker.ending, "begin_anew", _begin_anew)
    # Clocks of the platform that are constants, made as fast as those that are settings (see `world.TIMING`).
    celadon.sender.UNACKED_LATELY_S = 1
    celadon.sender.LOOK_AGAIN_S = 0.2
    celadon.sender.ONE_MORE_S = 1.0
    celadon.worker.solo.RETRY_S = 0.3
    celadon.worker.consuming.LOOK_S = 0.3
    # And one made slower, since each Beat keeps it.
    celadon.releaser.LOOK_S = 0.1
    # Jobs in quarantine have a launcher. Forked it is the same process, a second of start-up cheaper.
    vars(celadon.worker.solo)["subprocess"] = SimpleNamespace(Popen=Launcher, PIPE=subprocess.PIPE)


def _insert(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    passing("before_insert")
    return original(*args, **kwargs)


def _send(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    passing("before_publish")
    sent = original(*args, **kwargs)
    passing("after_publish")
    return sent


def _send_bytes(original: Callable[..., Any], connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
    done = original(connection, command, *args, **kwargs)
    if _role == "submitter" and b"LPUSH" in b"".join(command if isinstance(command, list) else [command]):
        passing("during_publish")
        if FAULTS.take("submitter.publish", "") == TIME_OUT:
            raise redis.TimeoutError("the message is on its way, and nobody heard that it arrived")
    return done


def _run(original: Callable[..., Any], job_id: str, *args: Any, **kwargs: Any) -> Any:
    """Say when a run is over, however it ended: a round is judged when none is under way."""
    _here.claim = None
    try:
        return original(job_id, *args, **kwargs)
    finally:
        if _here.claim is not None:
            history.append(_history, "left", job_id=job_id)
            _here.claim = None


def _poll(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    suffer(f"{celadon.worker.post.post().lane.name}.poll")
    return original(*args, **kwargs)


def _begin_anew(original: Callable[..., Any]) -> NoReturn:
    """Not by the command this process was started with, which is the zygote's: the conductor starts another."""
    history.append(_history, "anew")
    os._exit(0)


def _claim(original: Callable[..., Any], job_id: str, *args: Any, **kwargs: Any) -> Any:
    engine = kwargs["engine"]
    suffer(f"{'inline' if engine == 'inline' else 'worker'}.before_claim")
    claim = original(job_id, *args, **kwargs)
    if claim is None:
        history.append(_history, "beaten", job_id=job_id, by=engine)
        return None
    _here.claim = claim
    history.append(_history, "claimed", job_id=job_id, epoch=claim.epoch, by=engine)
    passing("after_claim", label_of(claim))
    return claim


def _depart(name: str, original: Callable[..., Any], claim: Claim, *args: Any, **kwargs: Any) -> Any:
    label = label_of(claim)
    passing(f"before_{name}", label)
    if name == "give_back_late":
        history.append(_history, "too_late", job_id=claim.job_id, epoch=claim.epoch)
    try:
        return _told(original, claim, claim, *args, **kwargs)
    finally:
        passing(f"after_{name}", label)


def _begin_step(original: Callable[..., Any], claim: Claim, *args: Any, **kwargs: Any) -> Any:
    """Between a step's beginning and its transaction: who stops here learns only from the fence that it is late."""
    begun = original(claim, *args, **kwargs)
    passing("step_begun", label_of(claim))
    return begun


def _start_later(original: Callable[..., Any], claim: Claim) -> Any:
    begin_by = original(claim)
    if begin_by is not None:
        history.append(_history, "start_moved", job_id=claim.job_id, epoch=claim.epoch)
    return begin_by


def _release(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    released = original(*args, **kwargs)
    if released:
        suffer(f"{_role}.after_release")  # By whoever does it: also a worker whose run has just ended.
    return released


def _look(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Say that a scheduler was there: what had come due before it looked can't have escaped it."""
    since = time.time()
    _here.outrun = []
    looked = original(*args, **kwargs)
    if looked.through:  # Else somebody has yet to have his turn.
        history.append(_history, "looked", since=since, outrun=_here.outrun)
    return looked


def _fire(original: Callable[..., Any], row: Any, *args: Any, **kwargs: Any) -> Any:
    passing("before_fire")
    fired = original(row, *args, **kwargs)
    if not fired:
        _here.outrun.append(row.name)
    passing("after_fire")
    return fired


def _fence(original: Callable[..., Any], connection: Any, claim: Claim, *args: Any, **kwargs: Any) -> Any:
    return _told(original, claim, connection, claim, *args, **kwargs)


def _told(original: Callable[..., Any], claim: Claim, *args: Any, **kwargs: Any) -> Any:
    """A write that the fence turned away is what half of the faults are for: count it."""
    try:
        return original(*args, **kwargs)
    except LostClaim:
        history.append(_history, "fenced", job_id=claim.job_id, epoch=claim.epoch)
        raise
