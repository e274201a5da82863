"""The history: what really happened, written by whoever did it, never by the ledger.

One file of JSON lines. Every event is one `write` to a descriptor opened with O_APPEND: the kernel keeps writers
apart, and a write that returned is not lost with the process that made it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]

_descriptors: dict[tuple[int, Path], int] = {}


def append(file: Path, event: str, **facts: object) -> None:
    """Write one event, with the process's id and the host's clock, which the databases of a run have too."""
    line = {"event": event, "pid": os.getpid(), "at": round(time.time(), 6), **facts}
    os.write(_descriptor(file), json.dumps(line).encode() + b"\n")


def _descriptor(file: Path) -> int:
    """Opened once per process: a descriptor shared with a parent would do, but its cache entry may be stale."""
    own = (os.getpid(), file)
    if own not in _descriptors:
        _descriptors[own] = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return _descriptors[own]


def read(file: Path) -> list[Event]:
    """All events, oldest first.

    Raises:
        json.JSONDecodeError: a line is torn, which the way of writing rules out: the history itself is broken.
    """
    return list(_lines(file))


def _lines(file: Path) -> Iterator[Event]:
    if not file.exists():
        return
    with file.open("rb") as stream:
        for line in stream:
            yield json.loads(line)


def clear(file: Path) -> None:
    """Empty the file between two rounds; writers that have it open go on at its new end.

    This process opens it anew: in another world it is another file of the same name.
    """
    if (own := _descriptors.pop((os.getpid(), file), None)) is not None:
        os.close(own)
    with file.open("wb"):
        pass
