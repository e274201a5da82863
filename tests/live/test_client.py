"""The client against `celadon web`, with a worker and a scheduler at work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from celadon.client import CeladonClient, NotAuthenticated, NotAuthorized, Receipt, UnknownJobId
from tests.conftest import need
from tests.ledgers import Ledgers
from tests.live.platform import ROOT, TIMING
from tests.servers import RedisServer, TcpProxy
from tests.servers.process import celadon, free_port, kill_group, spawn

GUIDE = ROOT / "docs" / "guides" / "call-it-over-http.md"
CONFIG = """
from celeryconfig import *
from celeryconfig import lanes as _lanes

imports = ("reports",)
migrations = ()
delegation = ""
beat_schedule = {}
limits = {}
task_routes = {}
lanes = {"default": {**_lanes["default"], "queues": ("default", "scheduled"), "concurrency": 4}}
"""
JOBS = """
from celadon import Permanent, Steps, job


@job("reports.build", queue="default")
def build(year: int, steps: Steps) -> str:
    if year == 0:
        raise Permanent("there is no year 0")
    return steps.run("collect", lambda session: f"the report of {year}")
"""


class Served:
    """`celadon web`, a worker and Beat of a small application; and the keys it has given out."""

    def __init__(self, folder: Path, redis: RedisServer, ledger: str) -> None:
        (folder / "reports_config.py").write_text(CONFIG)
        (folder / "reports.py").write_text(JOBS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._env = {
            **os.environ,
            **TIMING,
            "PYTHONPATH": f"{folder}:{ROOT}",
            "CELERY_CONFIG_MODULE": "reports_config",
            "LEDGER_URL": ledger,
            "BROKER_URL": redis.url,
            "WEB_BIND": f"127.0.0.1:{self.port}",
            "WEB_WORKERS": "1",
        }
        commands = {"web": celadon("web"), "worker": celadon("worker", "default"), "beat": celadon("beat")}
        self._processes = [
            spawn(command, folder / f"{name}.log", env=self._env, cwd=folder) for name, command in commands.items()
        ]

    def key(self, *scopes: str) -> str:
        """A new key."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        command = celadon("keys", "create", "tests", *words)
        done = subprocess.run(command, env=self._env, cwd=self._folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def stop(self) -> None:
        for process in self._processes:
            kill_group(process)
            process.wait(10)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    redis = need(lambda: RedisServer(folder))
    redis.start()
    made = Served(folder, redis, ledgers.fresh("sqlite"))
    yield made
    made.stop()
    redis.stop()


@pytest.fixture(scope="module")
def key(served: Served) -> str:
    """A key that may do everything."""
    return served.key("produce", "read", "operate")


def test_the_guides_program_does_what_it_says(served: Served, key: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    program = "\n".join(blocks).replace("https://jobs.example.com", served.url)
    (tmp_path / "program.py").write_text(program)
    # A program that has only the client: no operator's file, no ledger, no broker.
    alone = {"PATH": os.environ["PATH"], "CELADON_KEY": key, "LEDGER_URL": "none", "BROKER_URL": "none"}

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=alone, capture_output=True, text=True, check=False, timeout=50
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "the report of 2026",
        "422 [",
        "succeeded ['collect']",
        "['the report of 2018', 'the report of 2019']",
    ):
        assert told in done.stdout


def test_a_submission_whose_answer_was_lost_is_one_job(served: Served, key: str) -> None:
    with CeladonClient(served.url, key) as direct:
        before = {job.id for job in direct.jobs(tenant="lost")}
        proxy = TcpProxy(served.port)
        proxy.start()
        proxy.deaf()
        heals = Timer(0.5, proxy.clear)
        heals.start()
        with CeladonClient(f"http://127.0.0.1:{proxy.port}", key, timeout_s=1) as client:
            receipt = client.submit("reports.build", {"year": 1999}, tenant="lost")
        proxy.stop()

        assert receipt.outcome == "duplicate"
        assert {job.id for job in direct.jobs(tenant="lost")} - before == {receipt.job_id}
        assert direct.wait(receipt.job_id, 10).result == "the report of 1999"


def test_a_list_is_read_to_its_end(served: Served, key: str) -> None:
    with CeladonClient(served.url, key) as client:
        receipts = client.submit_many(
            [{"name": "reports.build", "payload": {"year": year}, "tenant": "pages"} for year in range(1, 8)]
        )

        listed = [job.id for job in client.jobs(tenant="pages", page_size=3)]
        assert listed == [receipt.job_id for receipt in reversed(receipts) if isinstance(receipt, Receipt)]
        assert len(listed) == 7


def test_a_key_may_do_what_it_was_made_for(served: Served, key: str) -> None:
    with CeladonClient(served.url, served.key("read"), give_up_after_s=2) as reader:
        assert list(reader.jobs(name="no.such.job")) == []
        with pytest.raises(NotAuthorized, match="produce"):
            reader.submit("reports.build", {"year": 1})
        with pytest.raises(UnknownJobId):
            reader.job("no-such-job")
    with CeladonClient(served.url, f"cel_{0:016}_{1:043}") as stranger, pytest.raises(NotAuthenticated):
        stranger.job("no-such-job")
