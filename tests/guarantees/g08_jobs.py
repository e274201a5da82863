"""The one job of G8: it takes the time before anything else, and appends it to a file that all workers share."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

from celadon import job


@job("proof.start", keep=1_000_000)
def start(number: int) -> None:
    began = time.time_ns()
    os.write(_file(), f"{began} {number}\n".encode())  # One write, at the end of the file wherever that is by now.


@cache
def _file() -> int:
    return os.open(Path(os.environ["PROOF_DIR"]) / "began", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
