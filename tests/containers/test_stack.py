"""deploy/compose.yaml with the image of deploy/Dockerfile: everything starts, works, and stops as it should.

Run by `make image-test`; `make test` leaves it out, for it needs a Docker engine and some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celeryconfig import lanes
from deploy.shop_client import Placed, Shop
from deploy.supervision import free_ports
from tests.eventually import eventually

pytestmark = [
    pytest.mark.skipif("CELADON_CONTAINERS" not in os.environ, reason="run by make image-test"),
    pytest.mark.timeout(600),
]

ROOT = Path(__file__).parents[2]
WORKERS = [f"worker-{lane}" for lane in lanes]
OURS = ["web", "beat", "flower", *WORKERS]


@dataclass(frozen=True)
class Stack:
    """The running containers."""

    file: Path
    web: int
    flower: int

    def compose(self, *words: str, check: bool = True) -> str:
        start = ["docker", "compose", "--project-name", "celadon-test", "--env-file", str(self.file)]
        command = [*start, "--file", str(ROOT / "deploy/compose.yaml"), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def run(self, service: str, *words: str, check: bool = True) -> str:
        return self.compose("exec", "--no-TTY", service, *words, check=check).strip()

    def containers(self) -> dict[str, dict[str, Any]]:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {container["Service"]: container for container in map(json.loads, lines)}

    @property
    def shop(self) -> Shop:
        return Shop(f"http://127.0.0.1:{self.web}")

    def secret(self, name: str) -> str:
        lines = dict(line.split("=", 1) for line in self.file.read_text().splitlines() if "=" in line)
        return lines[name]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    file = tmp_path_factory.mktemp("compose") / "compose.env"
    subprocess.run([ROOT / "deploy/compose-env.sh", file], check=True)
    web, flower = free_ports(2)
    # The limit of orders is not what is tested here, and would make it slow.
    file.write_text(f"{file.read_text()}WEB_PORT={web}\nFLOWER_PORT={flower}\nORDERS_STARTS=0\nORDERS_PER_WORKER=0\n")
    made = Stack(file, web, flower)
    try:
        made.compose("up", "--detach", "--build", "--wait", check=False)
        sick = [name for name, found in made.containers().items() if found["Health"] in ("starting", "unhealthy")]
        assert not sick, made.compose("logs", "--tail", "30", *sick)
        yield made
    finally:
        made.compose("down", "--volumes", check=False)


def place(stack: Stack, customer: str) -> Placed:
    sku = max(stack.shop.stock().items(), key=lambda item: item[1])[0]
    return stack.shop.place(customer, f"{customer.lower()}@example.org", {sku: 1})


def complete(stack: Stack, placed: Placed) -> bool:
    try:
        return bool(stack.shop.order(placed.order_id)["status"] == "complete")
    except urllib.error.HTTPError as error:
        if error.code == 503:  # The ledger is only just back.
            return False
        raise AssertionError(stack.compose("logs", "--tail", "30", "web")) from error


def test_everything_is_healthy_and_the_ledger_is_migrated(stack):
    containers = stack.containers()
    assert {name: containers[name]["Health"] for name in [*OURS, "postgres", "redis"]} == dict.fromkeys(
        [*OURS, "postgres", "redis"], "healthy"
    )
    assert (containers["migrate"]["State"], containers["migrate"]["ExitCode"]) == ("exited", 0)


def test_an_order_goes_all_the_way(stack):
    placed = place(stack, "Ada")
    assert placed.receipt["outcome"] in ("picked_up", "queued")
    eventually("the order is complete", lambda: complete(stack, placed), within=20)
    assert stack.shop.invoice(placed.order_id).startswith(b"%PDF-")
    mails = stack.run("mail", "sh", "-c", "cat /tmp/mail/*.eml")
    assert "ada@example.org" in mails


def test_flower_asks_who_it_is_and_shows_every_worker(stack):
    url = f"http://127.0.0.1:{stack.flower}/api/workers"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10)
    who = b64encode(stack.secret("FLOWER_BASIC_AUTH").encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {who}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert {name.split("@")[0] for name in json.load(answer)} == set(lanes)


def test_flowers_redis_user_cannot_put_anything_into_a_queue(stack):
    user = ["--user", "flower", "--pass", stack.secret("FLOWER_REDIS_PASSWORD"), "--no-auth-warning"]
    assert stack.run("redis", "redis-cli", *user, "llen", "default") == "0"
    assert "NOPERM" in stack.run("redis", "redis-cli", *user, "lpush", "default", "x")


def test_no_process_of_ours_is_root_or_can_write_beside_tmp(stack):
    for service in [*OURS, "mail"]:
        status = stack.run(service, "cat", "/proc/1/status").splitlines()
        facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        assert facts["Uid"].split() == ["10001"] * 4
        assert (int(facts["CapEff"], 16), facts["NoNewPrivs"]) == (0, "1")
        assert "Read-only file system" in stack.run(service, "sh", "-c", "touch /app/x 2>&1", check=False)


def test_every_process_serves_its_metrics(stack):
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
    for service in ["web", "beat", *WORKERS]:
        assert "celadon_" in stack.run(service, "python", "-c", script)


def test_logs_are_json_and_hold_no_secret(stack):
    lines = stack.compose("logs", "--no-log-prefix", "--no-color", "worker-default").splitlines()
    events = [json.loads(line[line.index("{") :])["event"] for line in lines if "{" in line]
    assert {"worker.ready", "job.started", "job.ended"} <= set(events)
    everything, secrets = stack.compose("logs"), ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_REDIS_PASSWORD")
    assert [name for name in secrets if stack.secret(name) in everything] == []


def test_in_the_midst_of_work_everything_stops_by_itself_and_goes_on_later(stack):
    placed = [place(stack, f"Customer{number}") for number in range(20)]
    stack.compose("stop")
    # Killed processes would say 137.
    assert {name: c["ExitCode"] for name, c in stack.containers().items() if c["ExitCode"]} == {}
    stack.compose("start")
    eventually("the shop answers", stack.shop.ready, within=60)
    for order in placed:
        eventually("the order is complete", lambda order=order: complete(stack, order), within=60)
