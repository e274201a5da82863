"""`/metrics` on METRICS_BIND."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from celadon.errors import CeladonError
from celadon.metrics import serving
from tests.eventually import eventually
from tests.servers.process import free_port

SERVES = """
import os, sys
from celadon import logs
from celadon.metrics import declared, serving
logs.configure()
serving.AGAIN_S = 0.05
serving.start("worker")
declared.SUBMISSIONS.add("a.job", "queued")
if os.fork() == 0:
    sys.stdin.read()  # A child that outlives its parent.
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9100", "127.0.0.1", 9100), ("[::]:9100", "::", 9100), ("metrics.local:1", "metrics.local", 1)],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert serving.address(text) == (host, port)


@pytest.mark.parametrize("text", ["9100", ":9100", "localhost", "localhost:", "localhost:http", "h:0", "h:65536"])
def test_a_bad_address_is_refused_and_named(text: str) -> None:
    with pytest.raises(CeladonError, match=f"METRICS_BIND='{text}' is no HOST:PORT"):
        serving.address(text)


def test_without_an_address_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()

    serving.start("worker")

    assert threading.active_count() == before
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def serve(port: int, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVES],
        env={**os.environ, "METRICS_BIND": f"127.0.0.1:{port}", "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stderr=(folder / "log").open("w"),
        text=True,
    )


def ask(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            told: str = answer.read().decode()
            return told
    except OSError:
        return ""


def test_a_port_that_is_taken_is_told_once_and_used_as_soon_as_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = serve(port, tmp_path)
        log = tmp_path / "log"
        eventually("it is told", lambda: "metrics.not_served" in log.read_text())
    told = eventually("the port is used", lambda: ask(port))

    assert 'celadon_submissions_total{name="a.job",outcome="queued"} 1.0' in told
    assert 'celadon_build_info{process="worker"' in told
    assert log.read_text().count("metrics.not_served") == 1
    process.communicate(timeout=10)


def test_a_child_that_outlives_the_process_does_not_keep_its_port(tmp_path: Path) -> None:
    port = free_port()
    process = serve(port, tmp_path)
    eventually("it serves", lambda: ask(port))

    process.kill()
    process.wait(10)

    with socket.create_server(("127.0.0.1", port)):
        pass  # Free, though the child still lives: it waits for the end of its input.
    process.communicate()
