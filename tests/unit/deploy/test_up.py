"""`make up`, with the two servers alone: what it says, what it leaves for a second terminal, what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from socket import socket

import pytest
import redis

from deploy.stack import ROOT
from deploy.supervision import free_ports, listening
from tests import forked
from tests.eventually import eventually
from tests.servers.process import spawn


@dataclass
class Up:
    """A running `make up`."""

    process: subprocess.Popen[bytes]
    command: list[str]
    folder: Path
    redis_port: int

    @property
    def said(self) -> str:
        return self.folder.with_name("said").read_text()

    def variable(self, name: str) -> str:
        """As a second terminal has it."""
        script = f"set -a; . {shlex.quote(str(self.folder / 'env'))}; set +a; printenv {name}"
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()

    def again(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A second one in the same folder, on the same ports."""
        command = [word for word in (*self.command, *words) if word != "-u"]
        return forked.run(command, env=os.environ, cwd=ROOT, timeout=30)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    base = tmp_path_factory.mktemp("up")
    web, mail, flower, port, metrics = free_ports(5)
    ports = [f"--web-port={web}", f"--mail-port={mail}", f"--flower-port={flower}", f"--redis-port={port}"]
    options = [*ports, f"--metrics-port={metrics}", f"--folder={base / 'run'}"]
    command = [sys.executable, "-u", "-m", "deploy.up", *options]
    process = spawn([*command, "redis", "mail"], base / "said", cwd=ROOT, by=SIGTERM)
    made = Up(process, command, base / "run", port)
    eventually("it is up", lambda: process.poll() is None and "Ctrl-C stops everything" in made.said, within=30)
    yield made
    process.send_signal(SIGTERM)
    process.wait(20)


def test_it_says_what_runs_and_how_to_speak_to_it(up: Up) -> None:
    assert "running mail, redis" in up.said
    assert f"set -a; . {up.folder}/env; set +a" in up.said
    assert "celadon keys create me --scope produce --scope read --scope operate" in up.said
    assert "celadon schedules list" in up.said
    assert "celadon limits list" in up.said
    assert "Flower" not in up.said, "what does not run has no address"


def test_a_second_terminal_reaches_the_same_ledger_and_the_same_redis(up: Up) -> None:
    assert up.variable("LEDGER_URL") == f"sqlite:///{up.folder}/celadon.db"
    with redis.Redis.from_url(up.variable("BROKER_URL")) as client:
        assert client.acl_whoami() == "default"
    password = up.variable("FLOWER_REDIS_PASSWORD")
    with redis.Redis(port=up.redis_port, username="flower", password=password) as client:
        assert client.ping()


def test_what_holds_secrets_is_for_its_owner_alone(up: Up) -> None:
    secrets = [up.variable(name) for name in ("SECRET_KEY", "FLOWER_BASIC_AUTH", "FLOWER_REDIS_PASSWORD")]
    files = [file for file in up.folder.rglob("*") if file.is_file()]
    holders = {file.name for file in files if any(secret.encode() in file.read_bytes() for secret in secrets)}
    assert holders == {"env", "supervisord-redis-mail.conf", "redis-users.conf"}
    assert {(up.folder / name).stat().st_mode & 0o777 for name in holders} == {0o600}


def test_a_second_one_on_the_same_ports_is_refused_and_changes_nothing(up: Up) -> None:
    before = (up.folder / "env").stat()
    done = up.again()
    assert done.returncode == 1
    assert f"port {up.redis_port} for redis is taken by another program" in done.stderr
    assert f"make up REDIS_PORT={up.redis_port + 1}" in done.stderr
    assert (up.folder / "env").stat() == before


def test_a_taken_port_for_metrics_is_refused_too(up: Up) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = up.again("web", f"--metrics-port={port}")
    assert f"port {port} for the metrics of web is taken" in done.stderr
    assert f"make up METRICS_PORT={port + 100}" in done.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--web-port=99999", "there is no port 99999 for web; choose one from 1 to 65535"),
        ("--web-port=0", "there is no port 0 for web; choose one from 1 to 65535"),
        ("--metrics-port=65535", "there is no port 65536 for the metrics of beat; choose one from 1 to 65535"),
    ],
)
def test_a_port_that_does_not_exist_is_refused(up: Up, option: str, told: str) -> None:
    done = up.again("web", option)
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr


def test_a_port_given_twice_is_refused(up: Up) -> None:
    done = up.again("web", f"--metrics-port={up.redis_port - 1}")
    assert f"port {up.redis_port} is given to redis and to the metrics of beat" in done.stderr


def test_stopping_it_leaves_nothing(up: Up) -> None:
    up.process.send_signal(SIGTERM)
    assert up.process.wait(20) == 0
    assert up.said.endswith("stopped\n")
    assert not listening(up.redis_port)
