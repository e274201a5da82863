"""The guide to the HTTP API: its commands are run against `celadon web` as they stand there, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need
from tests.console import commands, fits
from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.servers.process import celadon, find_program, free_port, kill_group, spawn
from tests.unit.test_docs import ROOT

GUIDE = ROOT / "docs" / "guides" / "http-api.md"
PARTED = "--- the output of command"


def test_the_guide_says_what_happens(ledgers: Ledgers, tmp_path: Path) -> None:
    curl = need(lambda: find_program("curl"))
    port = free_port()
    env = {
        **os.environ,
        "LEDGER_URL": ledgers.fresh("sqlite"),
        "USE_BROKER": "false",
        "WEB_BIND": f"127.0.0.1:{port}",
        "WEB_WORKERS": "1",
        "SMTP_URL": "smtp://127.0.0.1:1",
        "PATH": os.pathsep.join([str(tmp_path), str(curl.parent), os.environ["PATH"]]),
    }
    (tmp_path / "celadon").write_text(f'#!/bin/sh\nexec {sys.executable} -m celadon.cli "$@"\n')
    (tmp_path / "celadon").chmod(0o755)
    script = "\n".join(f"{command}\necho; echo '{PARTED}'" for command, _ in commands(GUIDE))
    server = spawn(celadon("web"), tmp_path / "web.log", env=env, cwd=ROOT)
    try:
        eventually("it serves", lambda: ready(curl, port), within=30)
        done = subprocess.run(
            ["bash", "-u", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
    finally:
        kill_group(server)
        server.wait(10)

    outputs = done.stdout.split(PARTED)[:-1]
    assert len(outputs) == len(commands(GUIDE)) > 10
    for (command, said), output in zip(commands(GUIDE), outputs, strict=True):
        assert fits(said, output), f"$ {command}\n{output}\nis not what the page says:\n{said}"


def ready(curl: Path, port: int) -> bool:
    asked = [str(curl), "-sf", f"http://127.0.0.1:{port}/ready"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("said", "output", "is_so"),
    [
        ('{"id":"…","n":1}', '{"id":"x","n":1}\n', True),
        ('{"id":"…","n":1}', '{"id":"x","n":2}\n', False),
        ("", "", True),
        ("", "Traceback", False),
    ],
)
def test_an_output_that_is_another_is_caught(said: str, output: str, is_so: bool) -> None:
    assert fits(said, output) is is_so
