"""An environment with nothing but the wheel, and applications in it that are not ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

from tests.eventually import eventually
from tests.servers.process import kill_group, spawn

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]

# Packages that the wheel asks for only as extras, and those of the shop.
EXTRAS = ("flask", "gunicorn", "httpx", "flower", "sentry_sdk", "psycopg", "flask_wtf", "limits", "fpdf")
HIDE = f"""
import os, sys

class Hidden:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

if os.environ.get("HIDE_EXTRAS"):
    sys.meta_path.insert(0, Hidden())
"""
# Clocks of the platform made fast.
TIMING = {"TICK_S": "0.05", "RENEW_S": "0.4", "LEASE_S": "1.5", "RESEND_AFTER_S": "0.5", "RELIEF_POLL_S": "0.1"}


class Environment:
    """A virtual environment that can't see this repository. wheel: what pip installed into it; None: nothing yet.

    The libraries that the wheel needs are taken from the environment that runs the tests, to save installing them anew.
    """

    def __init__(self, folder: Path, wheel: Path | None) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.bin = folder / "venv" / "bin"
        if wheel is not None:
            _pip("--python", self.bin / "python", "install", "--no-deps", "--no-index", wheel)
        [site] = (folder / "venv").glob("lib/python*/site-packages")
        (site / "libraries.pth").write_text(f"{_libraries(folder)}\n")
        (site / "hide_extras.py").write_text(HIDE)
        (site / "hide_extras.pth").write_text("import hide_extras\n")
        # The command that pip would have written, had it installed Flask here.
        flask = self.bin / "flask"
        flask.write_text(f"#!{self.bin}/python\nfrom flask.cli import main\nmain()\n")
        flask.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        """Of its processes: nothing of the tests' own but where programs are."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, **TIMING, "PATH": f"{self.bin}:{os.environ['PATH']}", "PIP_NO_INDEX": "1"}


def _libraries(folder: Path) -> Path:
    """All that the tests' environment has, but its own editable `celadon`."""
    libraries = folder / "libraries"
    libraries.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "celadon" not in entry.name:
            (libraries / entry.name).symlink_to(entry)
    return libraries


def build(folder: Path) -> Path:
    """The wheel, built from a copy, so that nothing of an earlier build gets into it, and nothing into the tree."""
    source = folder / "source"
    shutil.copytree(ROOT / "celadon", source / "celadon", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    [wheel] = folder.glob("celadon-*.whl")
    return wheel


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class Application:
    """A folder in which commands are given, as a reader of its README would."""

    def __init__(self, folder: Path, environment: Environment, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.env = {**environment.env, **settings}
        self._servers: list[subprocess.Popen[bytes]] = []

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            (self.folder / name).write_text(content)

    def run(self, command: str, *, fails: bool = False, **more: str) -> str:
        """Give a command to the shell and wait for its end; what it printed."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode != 0) is fails, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def start(self, command: str) -> None:
        """Give a command that stays."""
        log = self.folder / f"{re.sub(r'[^a-z]+', '-', command.lower())}.log"
        self._servers.append(spawn(["sh", "-c", command], log, env=self.env, cwd=self.folder))

    def stop(self) -> None:
        while self._servers:
            server = self._servers.pop()
            kill_group(server)
            server.wait(10)

    def listens(self, port: int) -> None:
        """Wait until somebody does."""

        def connected() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
            return True

        self.eventually(f"port {port} is listened on", connected)

    def done(self, url: str) -> dict[str, Any]:
        """Wait until the job behind an address of the application has succeeded; what is told of it."""

        def look() -> dict[str, Any]:
            told: dict[str, Any] = ask(url)
            return told if told["state"] == "succeeded" else {}

        return self.eventually(f"{url} has succeeded", look)

    def engine(self, job_id: str) -> str:
        """What ran a job, read past the platform."""
        with closing(sqlite3.connect(self.folder / "celadon.db")) as ledger:
            [engine] = ledger.execute("SELECT engine FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return str(engine)

    def eventually(self, what: str, look: Callable[[], T]) -> T:
        """Wait for it; the failure shows what the servers said."""
        try:
            return eventually(what, look, within=20)
        except AssertionError as late:
            logs = "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))
            raise AssertionError(f"{late}\n{logs}") from None


def ask(url: str, body: bytes | None = None) -> Any:
    """The JSON of an answer; with a body the request is a POST."""
    with urlopen(Request(url, data=body), timeout=20) as answer:
        return json.load(answer)
