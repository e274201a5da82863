"""The jobs of a fence run: each tells the history what it does, and commits its effects through its step's session."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert
from sqlalchemy.orm import Session

from celadon import Steps, job
from celadon.ledger.claims import boot_of
from tests.fence import edges, history
from tests.fence.observer import effects, notes

HISTORY = Path(os.environ["FENCE_DIR"]) / "history.jsonl"

IN_PLACE_S = 0.1  # How long a limited job takes.

# Rows stay until the judge has read them; a try is burnt by the flaky job only, and the rest is room.
LIMITS: dict[str, Any] = {
    "attempts": 5,
    "backoff": timedelta(milliseconds=50),
    "keep": 1_000_000,
    "alert_after": 1_000,
}


def commit(session: Session, label: str, step: str) -> dict[str, int]:
    """A transactional step's effect: a row in the step's own transaction."""
    claim = edges.running()
    edges.passing("in_step", label)
    row = {"label": label, "step": step, "job_id": claim.job_id, "epoch": claim.epoch, "pid": os.getpid()}
    session.execute(insert(effects).values(row))
    event.listen(session, "before_commit", lambda _: edges.passing("before_commit", label), once=True)
    event.listen(session, "after_commit", lambda _: edges.passing("after_commit", label), once=True)
    return {"epoch": claim.epoch}


def send_mail(label: str, key: str) -> dict[str, str]:
    """An outside step's effect: a line that is there even if the process dies before it can say so."""
    edges.passing("outside", label)
    history.append(HISTORY, "outside", label=label, step="mail", key=key)
    time.sleep(0.01)  # A short conversation with a mail server.
    edges.passing("after_outside", label)
    return {"key": key}


def note(session: Session, label: str) -> None:
    """What a caller stores in the transaction in which it submits."""
    session.execute(insert(notes).values(label=label))


def begin(label: str) -> int:
    """Tell of the run; returns the epoch it runs under, which becomes part of the job's result."""
    claim = edges.running()
    worker = boot_of(claim.worker) or claim.worker
    run = {"label": label, "job_id": claim.job_id, "epoch": claim.epoch, "by": claim.engine, "worker": worker}
    history.append(HISTORY, "start", **run)
    edges.FAULTS.let_ghost_go_first(label)
    edges.passing("between_steps", label)
    return int(claim.epoch)


@job("fence.plain", fallback="inline", **LIMITS)
def plain(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("effect", commit, label, "effect")
    return {"epoch": epoch}


@job("fence.deferred", fallback="defer", **LIMITS)
def deferred(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("effect", commit, label, "effect")
    return {"epoch": epoch}


@job("fence.refused", fallback="refuse", **LIMITS)
def refused(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("effect", commit, label, "effect")
    return {"epoch": epoch}


@job("fence.order", fallback="inline", scope="fence:{label}", **LIMITS)
def order(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("reserve", commit, label, "reserve")

    def record(session: Session, _: object) -> None:
        commit(session, label, "mail")

    steps.run("mail", send_mail, label, outside=True, record=record)
    steps.run("invoice", commit, label, "invoice")
    return {"epoch": epoch}


@job("fence.sleepy", fallback="inline", **LIMITS)
def sleepy(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("before", commit, label, "before")
    steps.sleep("nap", 0.3)
    steps.run("after", commit, label, "after")
    return {"epoch": epoch}


@job("fence.flaky", fallback="inline", **LIMITS)
def flaky(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    if not steps.done("fall"):
        steps.run("fall", commit, label, "fall")
        raise RuntimeError("the first try fails after its first step")
    steps.run("rise", commit, label, "rise")
    return {"epoch": epoch}


@job("fence.sync", queue="data_sync", **LIMITS)
def sync(label: str, steps: Steps) -> dict[str, int]:
    epoch = begin(label)
    steps.run("load", commit, label, "load")
    steps.run("store", commit, label, "store")
    return {"epoch": epoch}


def in_place(label: str, steps: Steps) -> dict[str, int]:
    """A run that is limited: long enough to meet others, and its end is told as its beginning is."""
    epoch = begin(label)
    try:
        steps.run("effect", commit, label, "effect")
        time.sleep(IN_PLACE_S)
    finally:
        history.append(HISTORY, "ended", job_id=edges.running().job_id, epoch=epoch)
    return {"epoch": epoch}


@job("fence.limited", fallback="inline", **LIMITS)
def limited(label: str, steps: Steps) -> dict[str, int]:
    return in_place(label, steps)


@job("fence.tenanted", fallback="inline", **LIMITS)
def tenanted(label: str, steps: Steps) -> dict[str, int]:
    return in_place(label, steps)


@job("fence.counted", fallback="defer", **LIMITS)
def counted(label: str, steps: Steps) -> dict[str, int]:
    return in_place(label, steps)


@job("fence.tick", **LIMITS)
def tick(label: str, lasts: float, steps: Steps) -> dict[str, int]:
    """A schedule's job: it gives way in its midst if the next one is to replace it."""
    own = edges.label_of(edges.running())
    epoch = begin(own)
    steps.run("begin", commit, own, "begin")
    until = time.monotonic() + lasts
    while time.monotonic() < until:
        time.sleep(min(0.05, lasts))
        steps.check()
    steps.run("end", commit, own, "end")
    return {"epoch": epoch}


@job("fence.poison", fallback="defer", **LIMITS)
def poison(label: str) -> None:
    """Kills whatever runs it, and all that runs beside it there."""
    begin(label)
    os.kill(os.getpid(), signal.SIGKILL)


edges.install(HISTORY)
