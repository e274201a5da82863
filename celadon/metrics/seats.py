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
# Bytes of each file that a seat has, taken from the disk before it is used: it is written through the memory, and a
# full disk met there would kill the process, with the job in it. A series of a histogram takes 4 kB.
ROOM = {"counter": 128 << 10, "histogram": 256 << 10, "gauge_livemax": 4 << 10}
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
    """Count in this folder, which another process has made. Before the first metric is.

    Raises OSError where that can't be written or is gone: then the process counts alone, in its memory.
    """
    global _folder, _seat
    _folder, _seat = folder, None
    try:
        shared = values.MultiProcessValue(process_identifier=seat)  # Takes the seat.
    except OSError:
        _folder = None
        raise
    override(prometheus_multiproc_dir=folder)  # Where prometheus_client looks for it.
    values.ValueClass = shared


def folder() -> Path | None:
    """Where this process counts together with others; None: alone, in its memory."""
    return _folder


def seat() -> int:
    """This process's seat, taken when it first counts. Raises OSError where there is no room for its files."""
    global _seat
    if _seat is None:
        assert _folder is not None
        _seat = _take(_folder)
    return _seat


def _take(folder: Path) -> int:
    locked = ((number, _lock(folder / f"seat-{number}")) for number in count())
    # Never closed: the lock is what holds the seat.
    number, held = next((number, held) for number, held in locked if held is not None)
    try:
        _forget_levels(folder, number)
        for kind, size in ROOM.items():
            _make_room(folder / f"{kind}_{number}.db", size)
    except OSError:
        os.close(held)
        raise
    return number


def _make_room(file: Path, size: int) -> None:
    """Have the file whole on the disk: one that has only been said to be so long has holes."""
    try:
        with file.open("ab") as opened:
            opened.write(bytes(max(0, size - opened.tell())))
    except OSError:
        if not file.stat().st_size:
            file.unlink()  # Nobody could read it.
        raise


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
