"""The live tests' file, with jobs that hang and swell, and a worker whose loop hangs where the test leaves the word."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery.signals import worker_ready
from kombu.asynchronous import get_event_loop

from tests.live import celeryconfig as live

globals().update({name: value for name, value in vars(live).items() if not name.startswith("_")})

imports = (*live.imports, "tests.live.recovery_jobs")
task_routes = {"recovery.sync.*": {"queue": "data_sync"}, "recovery.*": {"queue": "default"}, **live.task_routes}


def _watch_for_the_word(**_: Any) -> None:
    """Once there is a file `hang-LANE`, Celery's own loop never comes back; its other threads go on."""
    from celadon.worker.post import post

    word = Path(os.environ["LIVE_DIR"], f"hang-{post().lane.name}")

    def look() -> None:
        if word.exists():
            word.unlink()
            while True:
                time.sleep(0.1)

    loop = get_event_loop()
    assert loop is not None
    loop.call_repeatedly(0.1, look)


worker_ready.connect(_watch_for_the_word, weak=False)
