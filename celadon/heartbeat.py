"""Heartbeat files for probes: HEARTBEAT_FILE is touched by a process that lives, `.ready` exists while it is ready.

The file says that the process can still run a thread and, of a worker, that it consumes or has a good reason not to.
A ledger or a broker that is away is one: restarting workers because of it would only add to its trouble.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from celadon import logs
from celadon.errors import CeladonError
from celadon.settings import settings

log = logs.get("celadon.heartbeat")

EVERY_S = 3.0  # Probes give a minute, so that a host that is busy for seconds restarts nothing.

_stage: Literal["starting", "ready", "stopping"] = "starting"
_told = False  # That the file can't be written.
_fit: Callable[[], bool] = lambda: True  # noqa: E731


def begin() -> None:
    """Make the file, and forget that an earlier process was ready. Raises CeladonError where that can't be."""
    global _stage
    _stage = "starting"
    file = _file()
    if file is None:
        return
    try:
        _ready(file).unlink(missing_ok=True)
        file.touch()
    except OSError as error:
        raise CeladonError(
            f"HEARTBEAT_FILE={str(file)!r} can't be written ({error.strerror}); name a file in a folder that exists "
            "and is writable, or leave it empty"
        ) from error


def keep() -> None:
    """Touch the file every few seconds, on a thread of its own: nothing that hangs elsewhere can delay it."""
    if _file() is not None:
        threading.Thread(target=_keep, name="celadon-heartbeat", daemon=True).start()


def only_while(fit: Callable[[], bool]) -> None:
    """From now on, leave the file to grow old while `fit()` is false."""
    global _fit
    _fit = fit


def _keep() -> None:
    while True:
        if _fit():
            touch()
        time.sleep(EVERY_S)


def touch() -> None:
    """Say that the process lives."""
    _guarded(lambda file: file.touch())


def ready() -> None:
    """Say that the process does its work from now on. What is said again, or after `stopping`, changes nothing."""
    global _stage
    if _stage == "starting":
        _stage = "ready"
        _guarded(lambda file: _ready(file).touch())


def stopping() -> None:
    """Say that it takes no more work. May be called from a signal handler."""
    global _stage
    _stage = "stopping"
    _guarded(lambda file: _ready(file).unlink(missing_ok=True))


def _guarded(act: Callable[[Path], object]) -> None:
    """A disk that is full is no reason to end: it is logged once, and the probe will tell."""
    global _told
    file = _file()
    if file is None:
        return
    try:
        act(file)
        _told = False
    except OSError as error:
        if not _told:
            log.error("heartbeat.failed", file=str(file), error=str(error))
        _told = True


def _file() -> Path | None:
    return Path(settings().heartbeat_file) if settings().heartbeat_file else None


def _ready(file: Path) -> Path:
    return file.with_name(f"{file.name}.ready")
