"""A bound on memory like a container's: a cgroup, whose processes the kernel kills when they need more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def can_be_bounded() -> bool:
    """Whether this user may make cgroups here."""
    return os.access(_V1, os.W_OK) or ((_V2 / "cgroup.controllers").exists() and os.access(_V2, os.W_OK))


@contextmanager
def bounded(name: str, limit: int) -> Iterator[Path]:
    """A cgroup with so many bytes; whoever writes its pid into `cgroup.procs` is in it, with all it starts."""
    parent, file = (_V1, "memory.limit_in_bytes") if os.access(_V1, os.W_OK) else (_V2, "memory.max")
    folder = parent / f"{name}-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / file).write_text(str(limit))
        yield folder
    finally:
        with suppress(OSError):  # A process of it is still ending.
            folder.rmdir()
