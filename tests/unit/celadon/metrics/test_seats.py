"""The files in which processes count: as many as live at once, however many there were."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from prometheus_client import values

from celadon.metrics import seats
from celadon.metrics.kinds import Count, Level, Metric
from celadon.metrics.readings import Shared
from tests.eventually import eventually

PATIENCE_S = 20


def fork(act: Callable[[], object], *, then: int | None = None) -> int:
    """A child that does something and ends, or is ended by a signal; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(PATIENCE_S)
            act()
            if then is not None:
                os.kill(os.getpid(), then)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told(folder: Path, metric: Metric) -> float | None:
    """What the folder's processes have counted, over all labels."""
    name = metric.name
    found = [sample.value for family in Shared(folder).collect() for sample in family.samples if sample.name == name]
    return sum(found) if found else None


def test_processes_one_after_the_other_count_on_in_one_file(folder: Path, counter: Count) -> None:
    for _ in range(7):
        assert ended(fork(lambda: counter.add("runs"))) == 0
    assert ended(fork(lambda: counter.add("runs"), then=signal.SIGKILL)) == -signal.SIGKILL

    assert told(folder, counter) == 8
    assert len(list(folder.glob("counter_*.db"))) == 2  # This process's own is the other.


def test_processes_that_live_at_once_have_files_of_their_own(folder: Path, counter: Count) -> None:
    reading, writing = os.pipe()
    counter.add("parent")

    def count_and_wait() -> None:
        counter.add("child")
        os.close(writing)
        os.read(reading, 1)  # Until the parent lets go.

    pids = [fork(count_and_wait) for _ in range(3)]
    eventually("all have counted", lambda: told(folder, counter) == 4)
    assert len(list(folder.glob("counter_*.db"))) == 4
    os.close(writing)
    assert [ended(pid) for pid in pids] == [0, 0, 0]

    assert ended(fork(lambda: counter.add("child"))) == 0
    assert told(folder, counter) == 5
    assert len(list(folder.glob("counter_*.db"))) == 4


def test_a_childs_child_has_a_seat_of_its_own_and_outlives_it_there(folder: Path, counter: Count) -> None:
    def count_much() -> None:
        for _ in range(50):
            counter.add("grandchild")

    def count_and_fork() -> None:
        counter.add("child")
        fork(count_much)
        counter.add("child")

    assert ended(fork(count_and_fork)) == 0
    eventually("the grandchild has counted", lambda: told(folder, counter) == 52)


def test_how_it_stood_in_a_process_that_is_gone_is_forgotten(folder: Path, level: Level) -> None:
    level.set(0)
    assert ended(fork(lambda: level.set(1))) == 0

    assert told(folder, level) == 0


def test_of_several_processes_the_highest_level_is_told(folder: Path, level: Level) -> None:
    reading, writing = os.pipe()
    level.set(0)

    def be_open() -> None:
        level.set(1)
        os.close(writing)
        os.read(reading, 1)

    pid = fork(be_open)
    eventually("it is told", lambda: told(folder, level) == 1)
    os.close(writing)
    assert ended(pid) == 0
    assert told(folder, level) == 0


def test_a_fork_in_the_midst_of_counting_leaves_a_child_that_can_count(folder: Path, counter: Count) -> None:
    over = threading.Event()

    def count_on() -> None:
        while not over.is_set():
            counter.add("thread")

    threads = [threading.Thread(target=count_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [ended(fork(lambda: counter.add("child"))) for _ in range(30)] == [0] * 30
    finally:
        over.set()
        for thread in threads:
            thread.join()


def allow_files_of(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# Not a byte; less than the least that prometheus_client begins with; enough for that, which it leaves unwritten.
@pytest.mark.parametrize("size", [0, 1 << 13, 1 << 17])
def test_where_there_is_no_room_nobody_counts_until_there_is(folder: Path, counter: Count, size: int) -> None:
    def meet_a_full_disk() -> None:
        allow_files_of(size)
        with pytest.raises(OSError, match="File too large"):
            counter.add("lost")
        assert told(folder, counter) is None  # The files can still be read.
        allow_files_of(resource.RLIM_INFINITY)
        counter.add("counted")
        assert seats.seat() == 1, "the lock of the first try is still held"

    assert ended(fork(meet_a_full_disk)) == 0


def test_the_files_of_a_seat_have_no_holes(folder: Path, counter: Count) -> None:
    counter.add("x")

    for kind, size in seats.ROOM.items():
        file = (folder / f"{kind}_{seats.seat()}.db").stat()
        assert file.st_size == size
        assert file.st_blocks * 512 >= size


def test_a_process_that_can_not_join_counts_in_its_memory(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = values.ValueClass

    with pytest.raises(FileNotFoundError):
        seats.join(tmp_path_factory.mktemp("gone") / "folder")

    assert seats.folder() is None
    assert values.ValueClass is before
    assert str(folder) == os.environ["PROMETHEUS_MULTIPROC_DIR"]


def test_a_folder_that_is_gone_is_told_once_and_leaves_the_rest_to_be_told(tmp_path: Path) -> None:
    gone = Shared(tmp_path / "gone")

    with structlog.testing.capture_logs() as lines:
        assert [list(gone.collect()) for _ in range(2)] == [[], []]

    assert [line["event"] for line in lines] == ["metrics.no_folder"]


COUNTS_IN_A_TRANSACTION = """
import os, threading, time
from celadon import submit
from celadon.ledger import db, forks
from celadon.metrics.kinds import Count
from tests.eventually import eventually
counter = Count(name="unit_total", meaning="Counts.", labels=("what",))
inside = threading.Event()
def transact():
    with db.begin():
        inside.set()
        eventually("the other thread forks", lambda: forks._forking)
        counter.add("x")
thread = threading.Thread(target=transact)
thread.start()
inside.wait()
began = time.monotonic()
if os.fork() == 0:
    os._exit(0)
thread.join()
assert time.monotonic() - began < 5
"""


def test_a_fork_does_not_wait_for_a_transaction_that_waits_to_count(tmp_path: Path) -> None:
    # The order in which a process loads our parts is its own.
    subprocess.run(
        [sys.executable, "-c", COUNTS_IN_A_TRANSACTION],
        env={**os.environ, "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db"},
        timeout=PATIENCE_S,
        check=True,
    )


OWNER = """
import os, sys
from celadon.metrics import seats
from celadon.metrics.kinds import Count
folder = seats.prepare()
Count(name="unit_total", meaning="Counts.", labels=("what",)).add("x")
if os.fork() == 0:
    sys.exit()  # Runs the exit handlers, as gunicorn's processes do.
os.wait()
assert folder.exists(), "a child removed it"
print(folder, flush=True)
sys.stdin.read()
"""


def owner(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has made a folder and waits to be told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_goes_with_the_process_that_made_it(tmp_path: Path) -> None:
    process, folder = owner(tmp_path)
    assert folder.exists()
    process.communicate(timeout=PATIENCE_S)

    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (dead, its), (living, others) = owner(temporary), owner(temporary)
    dead.kill()
    dead.communicate()
    seats._sweep()
    assert its.exists()  # It is young: somebody may just be about to take the first seat.

    monkeypatch.setattr(seats, "YOUNG_S", -1.0)
    own = seats.prepare()

    assert not its.exists()
    assert others.exists()
    living.communicate(timeout=PATIENCE_S)
    shutil.rmtree(own)
