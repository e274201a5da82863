"""The table that holds now: the registration file, read again when it has changed.

Failure policy: a file that is gone or can't be used leaves the table as it was. That is logged once for each change,
and told by `last_error()` until the file is mended.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from celadon import lanes, logs
from celadon.delegation.entries import EMPTY, Table
from celadon.delegation.parsing import Pool, parse
from celadon.errors import CeladonError, InvalidTable
from celadon.settings import settings

log = logs.get("celadon.delegation")

LOOK_S = 1.0  # Between two looks at the file.
LARGEST = 10 * 1024 * 1024  # Bytes of a file; more is some other file.
_now = time.monotonic


class Registration:
    """The file of this process, and what it said last."""

    def __init__(self) -> None:
        self.table = EMPTY
        self.error: str | None = None
        self._read: tuple[Path, bytes] | None = None  # What was judged last, whether it could be used or not.
        self._look_at = 0.0
        self.unlock()

    def unlock(self) -> None:
        self._looking = threading.Lock()

    def look(self) -> None:
        """See what the file says, if the last look was long ago. Those who come meanwhile take what there is."""
        if _now() < self._look_at or not self._looking.acquire(blocking=self._look_at == 0.0):
            return
        try:
            if _now() >= self._look_at:
                self._take()
                self._look_at = _now() + LOOK_S
        finally:
            self._looking.release()

    def _take(self) -> None:
        try:
            path = configured()
            if path is None:
                self.table, self.error, self._read = EMPTY, None, None
                return
            content = _content(path)
            if self._read != (path, content):
                self._read = path, content
                self._use(path, content)
        except CeladonError as error:
            self._read = None
            self._refuse(error)

    def _use(self, path: Path, content: bytes) -> None:
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self._refuse(InvalidTable(f"{path.name}:{line}: this is no UTF-8; save the file in that encoding"))
            return
        try:
            table = parse(text, path.name, pool())
        except CeladonError as error:
            self._refuse(error)
            return
        if self.error is not None or table.digest != self.table.digest:
            log.info("delegation.loaded", file=str(path), queues=len(table.entries), digest=table.digest)
        if table.digest != self.table.digest:
            self.table = table
        self.error = None

    def _refuse(self, error: CeladonError) -> None:
        told = str(error)
        if told != self.error:
            log.error("delegation.refused", problems=told, kept=len(self.table.entries))
        self.error = told


def configured() -> Path | None:
    """The registration file: DELEGATION_FILE, else the one that the operator's file names; None: there is none.

    A path that is not absolute begins at the folder of the process, as the operator's file does. Raises CeladonError.
    """
    named = settings().delegation_file or getattr(lanes.operators_file(), "delegation", "")
    return Path(named) if named else None


_slots: int | None = None


def fit(slots: int | None) -> None:
    """Have every later version fit into so many slots: those of this worker, if it has fewer than its lane."""
    global _slots
    _slots = slots


def pool() -> Pool:
    """What the file has to fit into. Raises CeladonError if the operator's file has no lane for it."""
    declared = lanes.declared()
    if lanes.DELEGATED not in declared:
        raise CeladonError(
            f"celeryconfig.lanes has no lane {lanes.DELEGATED!r}, so no queue of the registration file would be "
            "worked; add it, or name no registration file"
        )
    lane = declared[lanes.DELEGATED]
    slots = lane.concurrency if _slots is None else min(_slots, lane.concurrency)
    taken = {queue: one.name for one in declared.values() for queue in one.queues}
    return Pool(concurrency=slots, timeout_s=lane.timeout_s, taken=taken)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise CeladonError(
            f"{path}: the registration file can't be read: {error.strerror}; put it there, or correct DELEGATION_FILE "
            "or celeryconfig.delegation"
        ) from error
    if len(content) > LARGEST:
        raise CeladonError(f"{path}: a registration file has at most {LARGEST} bytes; is it another file?")
    return content


_current = Registration()


def table() -> Table:
    """The current table; EMPTY if no file is configured. Never raises: a bad file leaves the table as it was.

    The file is looked at once a second at most. A table is the same object until the file changes.
    """
    _current.look()
    return _current.table


def last_error() -> str | None:
    """What is wrong with the file as it stands now, a problem per line; None if the table is what the file says."""
    _current.look()
    return _current.error


def forget() -> None:
    """Look anew, as a process that has just begun."""
    global _current
    _current = Registration()


# A thread of the parent's may have been looking.
os.register_at_fork(after_in_child=lambda: _current.unlock())
