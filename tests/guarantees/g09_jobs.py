"""The one job of G9: it writes down when its body began, before anything else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celadon import job


@job("proof.due", keep=1_000_000)
def due(number: int) -> None:
    began = time.time()
    with (Path(os.environ["PROOF_DIR"]) / "began").open("a") as file:
        file.write(f"{number} {began:.6f}\n")
