"""`celadon worker` works a lane as the operator's file says, or as its options say instead."""

from __future__ import annotations

import subprocess
import sys

import pytest

from celeryconfig import lanes

SCRIPT = """
from celadon.app import app

class Worker:
    exitcode = 0
    def __init__(self, **how):
        self.how = how
    def start(self):
        from celadon.worker.post import post
        lane = post().lane
        assert (self.how["pool"], self.how["concurrency"]) == (lane.pool, lane.concurrency)
        print(lane.pool, lane.concurrency, f"{lane.grace_s:g}")

app.Worker = Worker
from celadon.cli import main
main()
"""


def worker(*words: str) -> str:
    """What Celery's worker would be made with: pool, concurrency and grace."""
    command = [sys.executable, "-c", SCRIPT, "worker", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ((), {}),
        (("--pool", "prefork", "--concurrency", "3"), {"pool": "prefork", "concurrency": 3}),
        (("--grace", "90"), {"grace_s": 90}),
    ],
)
def test_an_option_stands_in_for_what_the_lane_says(options, changed):
    facts = {**lanes["default"], **changed}
    assert worker("default", *options) == f"{facts['pool']} {facts['concurrency']} {facts['grace_s']}"


def test_a_grace_too_short_to_give_jobs_back_is_refused():
    assert "Invalid value for '--grace': 1 is not in the range x>=5" in worker("default", "--grace", "1")
