"""The broker behind TLS, and behind Sentinels: sent to, read from, and asked for health, each with a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.servers import RedisServer
from tests.servers.process import find_program, free_port, kill_group, spawn

ROOT = Path(__file__).parents[2]

# A process of its own, for the broker's address is read once per process. It prints what became of each part.
SEND = """
import time
from celadon import broker
from celadon.redis import get_redis

def told(what, do):
    began = time.monotonic()
    try:
        answer = do()
    except Exception as error:
        answer = f"{type(error).__name__}: {error}".splitlines()[0]
    print(what, answer, flush=True)
    return time.monotonic() - began

told("reachable", broker.reachable)
first = told("sent", lambda: broker.send("a-job", "orders.process", "default"))
told("waiting", lambda: get_redis().llen("default"))
print("bounded", first < 1.5, flush=True)
"""


def send_through(environment: Mapping[str, str]) -> dict[str, str]:
    """What a producer with this environment meets: the lines it prints, by their first word."""
    done = subprocess.run(
        [sys.executable, "-c", SEND],
        env={**os.environ, "LOG_LEVEL": "ERROR", "REDIS_URL": "", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return {first: rest for first, _, rest in lines}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority of the test's own, and a certificate for localhost signed by it."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl = str(find_program("openssl"))

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "rsa:2048", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    signed_by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    run("x509", "-req", "-in", "server.csr", *signed_by, "-extfile", "names", "-out", "server.crt")
    return folder


@pytest.fixture
def tls_port(certificates: Path, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    files = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}
    options = [word for what, name in files.items() for word in (f"--tls-{what}-file", str(certificates / name))]
    server = RedisServer(tmp_path, ["--tls-port", str(port), "--tls-auth-clients", "no", *options])
    server.start()
    yield port
    server.kill()


def test_a_broker_behind_tls_is_sent_to_when_its_certificate_is_known(tls_port: int, certificates: Path) -> None:
    url = f"rediss://localhost:{tls_port}/0"

    met = send_through({"BROKER_URL": url, "BROKER_CA_FILE": str(certificates / "ca.crt")})

    assert met == {"reachable": "True", "sent": "None", "waiting": "1", "bounded": "True"}


def test_a_broker_with_a_certificate_of_an_unknown_authority_is_sent_nothing(tls_port: int) -> None:
    met = send_through({"BROKER_URL": f"rediss://localhost:{tls_port}/0"})

    assert met["reachable"] == "False"
    assert met["sent"].startswith("NotSent")
    assert "CERTIFICATE_VERIFY_FAILED" in met["waiting"]


def test_the_master_that_the_sentinels_name_is_sent_to_and_sentinels_that_are_away_cost_little(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    # Given a Sentinel that watches the server
    port = free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"port {port}\nsentinel monitor mymaster 127.0.0.1 {own_redis.port} 1\n")
    sentinel = spawn([str(find_program("redis-server")), str(settings), "--sentinel"], tmp_path / "sentinel.log")
    url = {"BROKER_URL": f"sentinel://127.0.0.1:{port}/0"}
    eventually("the Sentinel knows the master", lambda: send_through(url)["reachable"] == "True", within=20)

    # When something is sent, it is on the master
    assert send_through(url)["sent"] == "None"
    with own_redis.client() as client:
        assert client.llen("default") == 2

    # Then, with the Sentinel gone, sending fails at once
    kill_group(sentinel)
    sentinel.wait(10)
    met = send_through(url)
    assert met["reachable"] == "False"
    assert met["sent"].startswith("NotSent")
    assert met["bounded"] == "True"
