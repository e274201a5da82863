"""`celadon init`: all of it or nothing, and true to what the platform knows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import celeryconfig
from celadon import scaffold
from celadon.cli import main
from celadon.errors import CeladonError
from celadon.lanes import DELEGATED, Lane


def init(folder: Path) -> Result:
    return CliRunner().invoke(main, ["init", str(folder)], prog_name="celadon")


def content(folder: Path) -> dict[str, str]:
    """Every file in the folder."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def lanes(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What the written operator's file declares."""
    scaffold.write(tmp_path / "app")
    said: dict[str, Any] = {}
    exec((tmp_path / "app" / "celeryconfig.py").read_text(), said)
    declared: dict[str, dict[str, Any]] = said["lanes"]
    return declared


def test_it_writes_a_project_into_a_new_folder_and_names_every_file(tmp_path):
    result = init(tmp_path / "some" / "app")

    assert result.exit_code == 0, result.output
    written = content(tmp_path / "some" / "app")
    assert {
        "celeryconfig.py",
        "app.py",
        "tasks/hello.py",
        "tests/test_hello.py",
        "README.md",
        "requirements.txt",
    } < set(written)
    assert written == scaffold.files()
    assert all(str(tmp_path / "some" / "app" / name) in result.output for name in written)


def test_it_writes_beside_files_that_are_not_in_its_way(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_mine.py").write_text("mine")

    assert init(tmp_path).exit_code == 0
    assert content(tmp_path) == {**scaffold.files(), "tests/test_mine.py": "mine"}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({"app.py": "mine", "tasks/hello.py": "mine"}, "holds app.py, tasks/hello.py already"),
        ({"tasks": "a file where a folder is to be"}, "holds tasks already"),
    ],
)
def test_a_folder_that_holds_one_of_the_files_is_refused_and_left_as_it_is(tmp_path, there, told):
    for name, text in there.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    result = init(tmp_path)

    assert result.exit_code == 1
    assert f"Error: {tmp_path} {told}, so nothing was written; name another folder" in result.output
    assert content(tmp_path) == there


def test_a_link_that_leads_nowhere_is_in_the_way_too(tmp_path):
    (tmp_path / "app.py").symlink_to(tmp_path / "elsewhere.py")

    with pytest.raises(CeladonError, match=r"holds app\.py already"):
        scaffold.write(tmp_path)

    assert not (tmp_path / "elsewhere.py").exists()


def test_what_was_begun_is_undone_when_the_rest_can_not_be_written(tmp_path, monkeypatch):
    write_text = Path.write_text

    def full(path: Path, text: str) -> int:
        if path.name == "hello.py":
            write_text(path, text[:5])
            raise OSError(28, "No space left on device")
        return int(write_text(path, text))

    monkeypatch.setattr(Path, "write_text", full)
    (tmp_path / "services").mkdir()

    with pytest.raises(CeladonError, match="can't be written to, so nothing was: .*No space left"):
        scaffold.write(tmp_path)

    assert os.listdir(tmp_path) == ["services"]
    assert content(tmp_path) == {}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "app").write_text("mine")

    assert "is a file" in init(tmp_path / "app").output
    assert content(tmp_path) == {"app": "mine"}


# --- what is written


def test_the_lanes_are_those_of_this_project_word_for_word_but_for_the_delegated_one(lanes):
    assert {**lanes, DELEGATED: celeryconfig.lanes[DELEGATED]} == celeryconfig.lanes
    assert DELEGATED not in lanes  # It comes with a registration file.


def test_each_lane_says_all_that_a_lane_has_and_no_more(lanes):
    for name, facts in lanes.items():
        assert set(facts) == {field.name for field in fields(Lane)} - {"name"}
        Lane(name=name, **facts)


def test_the_readme_starts_lanes_that_there_are(lanes):
    started = re.findall(r"celadon worker (\w+)", scaffold.files()["README.md"])

    assert set(started) == set(lanes)


def test_the_requirements_name_packages_and_no_place_to_fetch_them_from():
    assert re.fullmatch(r"([a-z]+(\[[a-z]+\])?\n)+", scaffold.files()["requirements.txt"])
    assert "celadon[web]\n" in scaffold.files()["requirements.txt"]


@pytest.mark.parametrize("words", ["check --select E,F,W,I,B,UP", "format --check"])
def test_the_code_is_tidy_by_its_own_lights(tmp_path, words):
    scaffold.write(tmp_path)
    ruff = [sys.executable, "-m", "ruff", *words.split(), "--isolated", "--no-cache", "--line-length", "120", "."]

    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
