"""Heartbeat files: touched by a process that lives, with `.ready` beside it while it is ready."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from celadon import heartbeat
from celadon.errors import CeladonError
from tests.contract.pointed import pointed


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    named = tmp_path / "heartbeat"
    with pointed(heartbeat_file=named):
        yield named


def ready(file: Path) -> bool:
    return file.with_name("heartbeat.ready").exists()


def test_a_process_begins_alive_and_not_ready_whatever_an_earlier_one_left(file: Path) -> None:
    file.with_name("heartbeat.ready").touch()

    heartbeat.begin()

    assert file.exists()
    assert not ready(file)


def test_it_is_ready_until_it_stops_and_not_again_after_that(file: Path) -> None:
    heartbeat.begin()
    heartbeat.ready()
    assert ready(file)

    heartbeat.stopping()
    heartbeat.ready()  # A round that was under way.

    assert not ready(file)


def test_a_beat_makes_the_file_new(file: Path) -> None:
    heartbeat.begin()
    os.utime(file, (0, 0))

    heartbeat.touch()

    assert file.stat().st_mtime > 1e9


def test_a_file_that_can_not_be_written_is_refused_at_the_start_in_words(tmp_path: Path) -> None:
    with (
        pointed(heartbeat_file=tmp_path / "no such folder" / "file"),
        pytest.raises(CeladonError, match=r"HEARTBEAT_FILE='.*no such folder/file' can't be written \(No such file"),
    ):
        heartbeat.begin()


def test_a_folder_that_goes_away_later_is_logged_once_and_harms_nothing(file: Path) -> None:
    heartbeat.begin()
    file.unlink()
    file.parent.rmdir()

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            heartbeat.touch()

    assert [line["event"] for line in lines] == ["heartbeat.failed"]


def test_without_a_file_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for act in (heartbeat.begin, heartbeat.keep, heartbeat.touch, heartbeat.ready, heartbeat.stopping):
        act()

    assert list(tmp_path.iterdir()) == []
