"""`celadon worker` works a lane as the operator's file says, or as its options say instead."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from celadon.ledger.limits import set_limits
from celadon.limits import Limit
from celeryconfig import lanes
from tests import forked
from tests.contract.pointed import pointed

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


def worker(*words: str, script: str = SCRIPT, **settings: str) -> str:
    """What Celery's worker would be made with: pool, concurrency and grace."""
    command = [sys.executable, "-c", script, "worker", *words]
    environment = {**os.environ, **settings}
    done = forked.run(command, env=environment, cwd=Path.cwd(), timeout=30)
    return done.stdout.strip() if done.returncode == 0 else done.stderr


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


CONSUMED = """
from celadon.app import app

class Worker(app.Worker):
    def start(self):
        self.exitcode = 0
        print(*sorted(app.amqp.queues.consume_from))

app.Worker = Worker
from celadon.cli import main
main()
"""


@pytest.mark.parametrize(
    ("said", "consumed"),
    [
        ('[services]\na = "https://a.example"\n[queues.x]\nservice = "a"\n[queues.y]\nservice = "a"\n', "x y"),
        ("[queues]\n", ""),  # Celery takes "none" for "all".
    ],
)
def test_the_delegated_lane_consumes_the_queues_of_the_registration_file_and_no_other(
    tmp_path, ledgers, said, consumed
):
    file, ledger = tmp_path / "delegation.toml", ledgers.fresh("sqlite")
    file.write_text(said)
    with pointed(ledger_url=ledger):
        for queue in ("x", "y", "z"):
            set_limits("queue", queue, [Limit(concurrency=1)], actor="test")

    assert worker("delegated", script=CONSUMED, DELEGATION_FILE=str(file), LEDGER_URL=ledger) == consumed


def test_a_grace_too_short_to_give_jobs_back_is_refused():
    assert "Invalid value for '--grace': 1 is not in the range x>=5" in worker("default", "--grace", "1")
