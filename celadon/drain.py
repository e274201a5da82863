"""One flag per worker: it is stopping, so runs end at their next step boundary, and nobody waits any longer.

The flag is a byte of shared memory made before any fork, so that the children of a prefork worker see it too.
"""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)


def begin() -> None:
    _flag[0] = 1


def draining() -> bool:
    return _flag[0] == 1


def reset() -> None:
    _flag[0] = 0


def apart() -> None:
    """Take a flag of this process's own: the web's processes are also stopped one by one."""
    global _flag
    _flag = mmap.mmap(-1, 1)
