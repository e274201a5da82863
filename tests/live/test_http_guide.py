"""The guide to the HTTP API: its commands are run against `celadon web` as they stand there, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need
from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.servers.process import celadon, find_program, free_port, kill_group, spawn
from tests.unit.test_docs import ROOT, blocks

GUIDE = ROOT / "docs" / "guides" / "http-api.md"
PARTED = "--- the output of command"


def commands() -> list[tuple[str, str]]:
    """Each command of the page and the output that it is said to have."""
    found: list[list[str]] = []
    for _, code in blocks(GUIDE.read_text(), "console"):
        inside = False  # A command that goes on: after a backslash, or until its quote is closed.
        for line in code.splitlines():
            if line.startswith("$ "):
                found.append([line[2:], ""])
            elif inside:
                found[-1][0] += "\n" + line
            else:
                found[-1][1] += line + "\n"
            command = found[-1][0]
            inside = not found[-1][1] and (command.endswith("\\") or command.count("'") % 2 == 1)
    return [(command, output) for command, output in found]


def fits(said: str, output: str) -> bool:
    """Whether the output is what is said; `…` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in said.strip().split("…"))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


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
    script = "\n".join(f"{command}\necho; echo '{PARTED}'" for command, _ in commands())
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
    assert len(outputs) == len(commands()) > 10
    for (command, said), output in zip(commands(), outputs, strict=True):
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
