"""The files in which the processes behind one address keep their numbers, bounded by how many live at once.

prometheus_client shares numbers between processes by a file for each process id, and the files of counters must stay
when the process ends. With children that are replaced and a process per job in quarantine they would become more for
ever. So a process takes a seat instead: the lowest number that no living process holds. The kernel holds it by a lock
on a file and lets go of it when the process ends, however it ends; whoever takes the seat next counts on in its files.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from prometheus_client import values

from celadon.settings import override

PREFIX = "celadon-metrics-"
YOUNG_S = 60.0  # A folder that was made just now may have no seat taken yet.

_folder: Path | None = None
_seat: int | None = None


def prepare() -> Path:
    """Make a private folder, removed when this process ends, in which it and its children count from now on.

    Raises OSError where no temporary file can be written.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(_remove, folder, os.getpid())
    join(folder)
    return folder


def join(folder: Path) -> None:
    """Count in this folder, which another process has made. Before the first metric is."""
    global _folder, _seat
    _folder, _seat = folder, None
    override(prometheus_multiproc_dir=folder)  # Where prometheus_client looks for it.
    values.ValueClass = values.MultiProcessValue(process_identifier=seat)


def folder() -> Path | None:
    """Where this process counts together with others; None: alone, in its memory."""
    return _folder


def seat() -> int:
    """This process's seat, taken when it first counts."""
    global _seat
    if _seat is None:
        assert _folder is not None
        # Never closed: the lock is what holds the seat.
        _seat = next(number for number in count() if _lock(_folder / f"seat-{number}") is not None)
        _forget_levels(_folder, _seat)
    return _seat


def forget_the_dead(folder: Path) -> None:
    """Remove how it stood in processes that are gone. What they counted stays."""
    for number in _free(folder):
        _forget_levels(folder, number)


def _forget_levels(folder: Path, number: int) -> None:
    for file in folder.glob(f"gauge_*_{number}.db"):
        file.unlink(missing_ok=True)


def _free(folder: Path) -> Iterator[int]:
    """Seats that nobody holds; each is held by this process while it is looked at."""
    for file in folder.glob("seat-*"):
        descriptor = _lock(file)
        if descriptor is not None:
            try:
                yield int(file.name.removeprefix("seat-"))
            finally:
                os.close(descriptor)


def _lock(file: Path) -> int | None:
    """Hold a file's lock as long as the descriptor is open; None: another one does."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # Not a child that inherited the exit handler.
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # Another user's, or another process was quicker.
            found = folder.lstat()
            ours = found.st_uid == os.geteuid() and time.time() - found.st_mtime > YOUNG_S
            if ours and len(list(_free(folder))) == len(list(folder.glob("seat-*"))):
                shutil.rmtree(folder)


def _after_fork() -> None:
    global _seat
    _seat = None


os.register_at_fork(after_in_child=_after_fork)
