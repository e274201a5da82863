"""The jobs of the proofs of recovery. Each says when its body begins, and leaves one effect in a step."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy.orm import Session

from celadon import Steps, job
from tests.live.effects import effects

FOLDER = Path(os.environ.get("PROOF_DIR", "."))
PATIENCE_S = 600.0  # A job waits no longer for a proof that has failed meanwhile.
KEPT = 1_000_000


@cache
def _file() -> int:
    return os.open(FOLDER / "began", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def begin(name: str) -> None:
    """One write, at the end of the file wherever that is by now."""
    os.write(_file(), f"{time.time_ns()} {name} {os.getpid()}\n".encode())


def leave(session: Session, name: str) -> None:
    session.execute(effects.insert().values(name=name, step="done", pid=os.getpid()))


@job("proof.run", queue="default", keep=KEPT)
def run(name: str, seconds: float, steps: Steps, gate: str | None = None, ballast_mb: int = 0) -> None:
    """Take so long, or until the gate is open, and so much memory."""
    begin(name)
    ballast = os.urandom(1 << 20) * ballast_mb
    until = time.monotonic() + PATIENCE_S
    while gate and not (FOLDER / gate).exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(seconds)
    steps.run("done", leave, name)
    del ballast


@job("proof.dies", queue="default", backoff=timedelta(0))
def dies(name: str) -> None:
    """Kills the process that it runs in."""
    begin(name)
    os.kill(os.getpid(), signal.SIGKILL)


@job("proof.kills.all", queue="default", backoff=timedelta(0))
def kills_all(name: str) -> None:
    """Kills its worker with everything that it has started, as a container dies of one process."""
    begin(name)
    os.killpg(0, signal.SIGKILL)


@job("proof.swells", queue="default", backoff=timedelta(0))
def swells(name: str) -> None:
    """Takes memory until somebody is killed for it."""
    begin(name)
    held = []
    while True:
        held.append(os.urandom(1 << 20) * 16)


@job("proof.fails", queue="default", attempts=2, backoff=timedelta(milliseconds=100))
def fails(name: str) -> None:
    begin(name)
    raise ValueError("as it was told to")
