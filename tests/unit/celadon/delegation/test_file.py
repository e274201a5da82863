"""The registration file is read again when it changes, and a bad one leaves the table as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from celadon import lanes, queues
from celadon.delegation import file
from celadon.delegation.entries import EMPTY
from celadon.errors import CeladonError, UnknownQueue
from celadon.run import Runner, run_job
from celadon.states import State
from tests.contract.given import a_job
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.unit.celadon.jobs import SCRIPT

HEAD = '[services]\nmail = "https://mail.example.org"\n'


def text(*names: str, concurrency: int = 1) -> str:
    return (
        HEAD
        + "".join(f'[queues.{n}]\nservice = "mail"\nconcurrency = {concurrency}\n' for n in names)
        + "[queues]\n" * (not names)
    )


class Registered:
    """A registration file of the test's own, and a clock that passes by the second when the test says so."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.now = 1000.0
        monkeypatch.setattr(file, "_now", lambda: self.now)

    def write(self, content: str | bytes) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(fresh, self.path)

    def later(self) -> list[str]:
        """A second later: the queues of the table."""
        self.now += file.LOOK_S
        return list(file.table().entries)


def error() -> str:
    return file.last_error() or ""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    here = Registered(tmp_path / "delegation.toml", monkeypatch)
    here.write(text("email"))
    with pointed(delegation_file=str(here.path)):
        file.forget()
        yield here
    file.forget()


def test_a_change_is_seen_within_a_second_and_the_file_is_not_looked_at_more_often(registered) -> None:
    first = file.table()
    registered.write(text("email", "sms"))
    assert file.table() is first

    assert registered.later() == ["email", "sms"]
    registered.write(text("sms"))
    assert registered.later() == ["sms"]


def test_a_table_is_the_same_object_until_the_file_says_something_else(registered) -> None:
    first = file.table()
    os.utime(registered.path, (1, 1))
    registered.later()
    registered.path.unlink()
    registered.later()
    registered.write(text("email"))
    registered.later()

    assert file.table() is first


def test_a_change_of_one_letter_in_the_same_moment_and_size_is_seen(registered) -> None:
    registered.write(text("aaaa"))
    os.utime(registered.path, ns=(7, 7))
    registered.later()
    registered.path.write_text(text("bbbb"))
    os.utime(registered.path, ns=(7, 7))

    assert registered.later() == ["bbbb"]


def test_a_bad_file_leaves_the_table_says_why_and_is_logged_once(registered) -> None:
    before = file.table()
    assert file.last_error() is None
    registered.write(HEAD + '[queues.email]\nservice = "male"\n')

    with capture_logs() as logs:
        for _ in range(5):
            registered.later()

    assert file.table() is before
    assert file.last_error() == (
        "delegation.toml:4: queues.email.service='male': it is not in [services]; did you mean 'mail'?"
    )
    assert [(entry["event"], entry["problems"], entry["kept"]) for entry in logs] == [
        ("delegation.refused", file.last_error(), 1)
    ]


def test_a_file_that_is_mended_holds_and_the_error_is_gone(registered) -> None:
    file.table()
    registered.write("[queues")
    registered.later()
    assert file.last_error()

    registered.write(text("email", "sms"))
    with capture_logs() as logs:
        assert registered.later() == ["email", "sms"]
    assert file.last_error() is None
    assert [entry["event"] for entry in logs] == ["delegation.loaded"]


@pytest.mark.parametrize("content", ["", b"\xff\xfe", "\x00", "[queues.email]\nservice = 5\n"])
def test_nothing_that_a_file_may_hold_takes_the_queues_away_or_raises(registered, content) -> None:
    file.table()
    registered.write(content)

    assert registered.later() == ["email"]
    assert error().startswith("delegation.toml:")


def test_a_file_that_is_gone_leaves_the_table_and_says_so(registered) -> None:
    file.table()
    registered.path.unlink()

    assert registered.later() == ["email"]
    assert "can't be read: No such file or directory; put it there, or correct DELEGATION_FILE" in error()


def test_a_folder_or_a_huge_file_is_no_registration_file(registered, monkeypatch) -> None:
    file.table()
    monkeypatch.setattr(file, "LARGEST", 10)
    registered.later()
    assert "has at most 10 bytes; is it another file?" in error()

    registered.path.unlink()
    registered.path.mkdir()
    registered.later()
    assert "can't be read: Is a directory" in error()


def test_a_bad_file_at_the_start_means_no_queues_and_is_told(registered) -> None:
    registered.write("[queues")
    file.forget()

    assert file.table() is EMPTY
    assert "this is no TOML" in error()
    with pytest.raises(UnknownQueue, match=r"delegation.toml:1: this is no TOML"):
        queues.lane_of("email")


def test_the_settings_that_entries_go_by_can_not_take_the_table_away(registered) -> None:
    file.table()
    registered.write(text("email", "sms"))
    with pointed(queue_timeout_default="soon"):
        assert registered.later() == ["email"]
        assert "QUEUE_TIMEOUT_DEFAULT" in error()


def test_no_file_is_an_empty_table(monkeypatch) -> None:
    monkeypatch.setattr(lanes.operators_file(), "delegation", "")
    with pointed(delegation_file=None):
        file.forget()
        assert (file.table(), file.last_error()) == (EMPTY, None)
    file.forget()


def test_an_operators_file_that_never_heard_of_delegation_has_none(monkeypatch) -> None:
    monkeypatch.delattr(lanes.operators_file(), "delegation")
    with pointed(delegation_file=None):
        assert file.configured() is None


def test_the_setting_goes_before_the_operators_file(registered, monkeypatch) -> None:
    monkeypatch.setattr(lanes.operators_file(), "delegation", "another.toml")
    assert file.configured() == registered.path

    with pointed(delegation_file=None):
        assert file.configured() == Path("another.toml")


def test_without_the_lane_no_queue_would_be_worked_and_that_is_told(registered, monkeypatch) -> None:
    others = {name: lane for name, lane in lanes.declared().items() if name != lanes.DELEGATED}
    monkeypatch.setattr(lanes, "declared", lambda: others)

    assert file.table() is EMPTY
    assert "celeryconfig.lanes has no lane 'delegated'" in error()


def test_many_threads_may_look_at_once(registered) -> None:
    file.forget()
    seen: list[list[str]] = []
    start = threading.Barrier(16)

    def look() -> None:
        start.wait()
        seen.append(list(file.table().entries))

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert seen == [["email"]] * 16


def test_a_child_process_keeps_the_table_and_can_look_though_its_parent_was_looking(registered) -> None:
    file.table()
    registered.write("[queues")  # What the child would find, if it began anew.
    file._current._looking.acquire()
    registered.now += 5
    child = os.fork()
    if child == 0:
        os._exit(0 if list(file.table().entries) == ["email"] and file.last_error() else 1)
    file._current._looking.release()

    assert os.waitpid(child, 0)[1] == 0


def test_by_the_real_clock_a_change_holds_within_two_seconds(tmp_path) -> None:
    path = tmp_path / "delegation.toml"
    path.write_text(text("email"))
    with pointed(delegation_file=str(path)):
        file.forget()
        file.table()
        path.write_text(text("email", "sms"))
        eventually("the new queue is there", lambda: "sms" in file.table().entries, 2)
    file.forget()


# --- queues and lanes


def test_the_queues_of_the_file_are_those_of_the_lane_and_follow_it(registered) -> None:
    file.table()
    assert queues.lane_of("email").name == lanes.DELEGATED
    assert queues.lanes()[lanes.DELEGATED].queues == ("email",)
    assert queues.names() == ["data_sync", "default", "email", "scheduled"]
    assert queues.lane("default").queues == ("default",)

    registered.write(text("sms", "push"))
    registered.later()

    assert queues.lanes()[lanes.DELEGATED].queues == ("sms", "push")
    with pytest.raises(UnknownQueue, match="there are: data_sync, default, scheduled and 2 of the registration file"):
        queues.lane_of("email")
    with pytest.raises(UnknownQueue, match="did you mean 'push'"):
        queues.lane_of("pusj")


def test_a_job_whose_queue_is_taken_out_of_the_file_under_way_is_run_to_an_end(registered, ledger) -> None:
    job_id = a_job("unit.scripted", queue="email", payload={})
    registered.write(text())
    registered.later()
    SCRIPT.append(lambda steps: steps.claim.queue)

    ran = run_job(job_id, Runner(worker="w"))

    assert (ran.state, ran.error) == (State.SUCCEEDED, None)
    assert queues.longest_s("email") == queues.lane(lanes.DELEGATED).timeout_s


def test_without_entries_the_lane_has_no_queues(registered) -> None:
    registered.write(text())
    file.forget()

    assert queues.lane(lanes.DELEGATED).queues == ()
    assert queues.names() == ["data_sync", "default", "scheduled"]


def test_while_nothing_changes_nothing_is_made_anew(registered) -> None:
    assert queues.lanes() is queues.lanes()
    assert queues.lane_of("email") is queues.lane_of("email")


def test_a_lane_that_is_not_there_is_told(registered) -> None:
    with pytest.raises(CeladonError, match="no lane 'delegates'; there are: default, data_sync, scheduled, delegated"):
        queues.lane("delegates")
