"""How many connections a process has open, by what the kernel says of it (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_ESTABLISHED = "01"


def counted() -> bool:
    """Whether this system tells."""
    return (_PROC / "net" / "tcp").exists()


def to_port(pids: Iterable[int], port: int) -> int:
    """Connections of these processes to that port of the loopback address."""
    sockets = set()
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == _ESTABLISHED and int(words[2].partition(":")[2], 16) == port:
            sockets.add(f"socket:[{words[9]}]")
    return sum(target in sockets for pid in pids for target in _open(pid))


def to_file(pids: Iterable[int], path: Path) -> int:
    """How often these processes have that file open: an SQLite database once per connection."""
    return sum(target == str(path) for pid in pids for target in _open(pid))


def _open(pid: int) -> Iterator[str]:
    for descriptor in (_PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):  # Closed meanwhile.
            yield os.readlink(descriptor)
