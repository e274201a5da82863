"""Files by which a job in another process tells a test where it is, and by which the test lets it go on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

# A job never waits longer for a test that has failed meanwhile.
PATIENCE_S = 30.0


class Gates:
    """Each gate has a name of the test's own. `reached` lists the processes that came to it, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reach(self, name: str) -> None:
        """In the job: say that this process is here."""
        descriptor = os.open(self.folder / f"{name}.reached", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"%d\n" % os.getpid())
        os.close(descriptor)

    def reached(self, name: str) -> list[int]:
        """In the test: the ids of the processes that have come here, repeats included."""
        file = self.folder / f"{name}.reached"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def open(self, name: str) -> None:
        """In the test: whoever waits here, now or later, goes on."""
        (self.folder / f"{name}.open").touch()

    def wait(self, name: str, between: Callable[[], object] = lambda: None) -> None:
        """In the job: say so, and wait until the gate is open; `between` is called again and again meanwhile."""
        self.reach(name)
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / f"{name}.open").exists():
            between()
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody opened the gate {name}")
            time.sleep(0.01)
