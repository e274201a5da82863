"""Jobs alone in processes of their own, with a real launcher."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from celadon import JobView, drain, find
from celadon.ledger import claims, recovery
from celadon.ledger.db import at
from celadon.metrics import seats
from celadon.queues import lane
from celadon.states import Outcome, State
from celadon.worker import aside, post, solo
from celadon.worker.solo import Solos
from tests.contract.given import a_job, change, row
from tests.eventually import eventually

START_S = 20  # A launcher loads everything before it takes its first job.


@pytest.fixture(scope="module")
def _launched(_ledger_of_the_module: str) -> Iterator[Solos]:
    """What a worker of the default lane, here told to have two slots and a short grace, has for jobs in quarantine."""
    made = Solos()
    # Three seconds of the grace are the worker's own, so that half a second is left to a job that hangs.
    told = replace(lane("default"), concurrency=2, grace_s=3.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_CONFIG_MODULE", "tests.unit.celadon.operators")
        patch.setattr(post, "_post", post.Post(lane=told, boot="host:boot"))
        yield made
        end(made)


@pytest.fixture
def solos(_launched: Solos, ledger: str, tmp_path: Path) -> Iterator[Solos]:
    """The same for every test, since starting a launcher takes a second; each test leaves it idle."""
    yield _launched
    drain.reset()
    (tmp_path / "go on").touch()
    eventually("nothing runs any more", lambda: len(_launched) == 0)


def end(solos: Solos) -> None:
    """Let go of the launcher, as a worker does that dies."""
    launcher = solos._launcher
    if launcher is not None and launcher.stdin is not None:
        launcher.stdin.close()
        launcher.wait(10)


def quarantined(do: str, folder: Path) -> str:
    name, payload = ("unit.short", {}) if do == "short" else ("unit.alone", {"do": do})
    job_id = a_job(name, payload={**payload, "folder": str(folder)})
    change(job_id, quarantine=True)
    return job_id


def begun(solos: Solos, do: str, folder: Path) -> str:
    """A job that is under way in its process."""
    job_id = quarantined(do, folder)
    assert solos.run(job_id)
    eventually("it has begun", (folder / f"{do}.begun").exists, within=START_S)
    return job_id


def over(solos: Solos, job_id: str) -> JobView:
    eventually("its end is reported", lambda: job_id not in solos._under_way, within=START_S)
    view = find(job_id)
    assert view is not None
    return view


def succeeds_by_looking(solos: Solos, job_id: str) -> bool:
    """Look once more, as relief does by the clock: another thread may have been in the midst of a look of its own."""
    solos.look()
    return bool(row(job_id).state == State.SUCCEEDED)


def outcomes(view: JobView) -> list[Any]:
    return [attempt.outcome for attempt in view.attempts]


def test_each_job_runs_in_a_process_of_its_own_made_by_one_launcher(solos, tmp_path):
    views = [over(solos, begun(solos, "tell", tmp_path)) for _ in range(2)]

    assert [view.state for view in views] == [State.SUCCEEDED, State.SUCCEEDED]
    results: list[Any] = [view.result for view in views]
    (first, one), (second, other) = results
    assert one == other == solos._launcher.pid
    assert len({first, second, one, os.getpid()}) == 4
    assert [view.claimed_by for view in views] == [f"host:boot:{first}", f"host:boot:{second}"]


def test_a_job_that_kills_its_process_is_blamed_at_once(solos, tmp_path):
    view = over(solos, begun(solos, "die", tmp_path))

    # Nobody waited for its lease.
    assert (view.state, outcomes(view)) == (State.QUEUED, [Outcome.CRASHED])
    assert (row(view.id).crashes, row(view.id).quarantine, row(view.id).attempt) == (1, True, 0)


@pytest.mark.parametrize(("do", "crashes", "exclusive"), [("abort", 1, False), ("die", 0, True)])
def test_beside_others_only_a_kill_may_have_come_from_outside_and_no_other_job_is_harmed(
    solos, tmp_path, do, crashes, exclusive
):
    other = begun(solos, "hang", tmp_path)

    view = over(solos, begun(solos, do, tmp_path))

    # Where memory is short the kernel kills whom it likes: then it is to be the only suspect next time.
    assert (view.state, outcomes(view)) == (State.QUEUED, [Outcome.CRASHED])
    assert (row(view.id).crashes, row(view.id).exclusive) == (crashes, exclusive)
    assert row(other).state == State.RUNNING
    (tmp_path / "go on").touch()
    assert over(solos, other).state == State.SUCCEEDED


def test_suspects_that_are_queued_begin_by_themselves_and_exclusive_ones_one_after_the_other(solos, tmp_path):
    beside = [quarantined("tell", tmp_path) for _ in range(3)]
    exclusive = [quarantined("tell", tmp_path) for _ in range(3)]
    for job_id in exclusive:
        change(job_id, exclusive=True)

    solos.look()

    for job_id in beside + exclusive:
        eventually("it has succeeded", lambda job_id=job_id: row(job_id).state == State.SUCCEEDED, within=START_S)
    order = sorted(exclusive, key=lambda job_id: row(job_id).claimed_at or row(job_id).started_at)
    for first, second in itertools.pairwise(order):
        assert row(first).finished_at <= row(second).started_at
    assert min(row(job_id).started_at for job_id in exclusive) >= max(row(job_id).finished_at for job_id in beside)


def test_the_launcher_is_warmed_up_when_a_job_falls_silent_and_not_before(solos, monkeypatch):
    begun: list[int] = []
    cold = Solos()
    monkeypatch.setattr(cold, "_launched", lambda: begun.append(1))
    job_id = a_job("unit.alone", payload={"do": "tell"})
    claims.claim(job_id, worker="host:dead:1", engine="worker", lease_s=10)

    cold.warm_up()
    assert not begun
    change(job_id, lease_until=at(5))  # It was renewed five seconds ago.
    cold.warm_up()
    assert not begun
    cold.warm_up(missed=1.3)  # As a worker does that has just started.
    assert len(begun) == 1
    change(job_id, lease_until=at(3))
    cold.warm_up()
    assert len(begun) == 2


def test_a_job_that_can_not_be_had_is_not_tried_again_at_once_but_soon(solos, tmp_path, monkeypatch):
    # Given a suspect that this worker may not have now: an exclusive one runs in it, which nobody here has begun.
    running = quarantined("tell", tmp_path)
    change(running, exclusive=True)
    claim = claims.claim(running, worker="host:boot:1", engine="worker", lease_s=30, exclusive=True)
    refused = quarantined("tell", tmp_path)

    solos.look()
    eventually("it was refused", lambda: refused in solos._not_before, within=START_S)
    solos.look()

    assert (len(solos), row(refused).state) == (0, State.QUEUED)
    claims.finish(claim, None)
    monkeypatch.setitem(solos._not_before, refused, time.monotonic() + 0.3)

    eventually("it is tried again", partial(succeeds_by_looking, solos, refused), within=START_S)
    assert row(refused).state == State.SUCCEEDED


def test_slots_that_a_backlog_keeps_busy_keep_no_suspect_from_its_turn(solos, tmp_path, monkeypatch):
    monkeypatch.setattr(solos, "busy", lambda: 2)
    suspect, relief = quarantined("tell", tmp_path), a_job("unit.alone", payload={"do": "tell"})

    assert not solos.run(relief)
    solos.look()

    assert over(solos, suspect).state == State.SUCCEEDED


@pytest.mark.parametrize("patient", [True, False])
def test_slots_stand_aside_for_an_exclusive_job_and_not_for_ever(solos, tmp_path, monkeypatch, patient):
    slots = [1]
    monkeypatch.setattr(solos, "busy", lambda: slots[0])
    job_id = quarantined("hang", tmp_path)
    change(job_id, exclusive=True)

    solos.look()
    assert (len(solos), aside.asked()) == (0, True), "what runs may end first"

    if patient:
        slots[0] = 0
    else:
        monkeypatch.setattr(aside, "PATIENCE_S", 0)
    solos.look()
    assert (len(solos), aside.asked()) == (1, True)
    assert solos._under_way[job_id].in_company is not patient

    monkeypatch.setattr(aside, "HOLD_S", 0)
    solos.look()
    assert not aside.asked()
    monkeypatch.undo()
    (tmp_path / "go on").touch()
    assert over(solos, job_id).state == State.SUCCEEDED


def test_the_slots_go_on_when_an_exclusive_job_has_ended(solos, tmp_path):
    job_id = quarantined("tell", tmp_path)
    change(job_id, exclusive=True)

    solos.look()
    assert aside.asked()

    over(solos, job_id)
    eventually("the slots go on", lambda: not aside.asked())


def test_a_kill_beside_busy_slots_may_have_come_from_outside(solos, tmp_path, monkeypatch):
    monkeypatch.setattr(solos, "busy", lambda: 2)
    job_id = quarantined("die", tmp_path)
    solos.look()

    view = over(solos, job_id)

    assert (outcomes(view), row(job_id).crashes, row(job_id).exclusive) == ([Outcome.CRASHED], 0, True)


def test_an_id_may_hold_anything(solos, tmp_path):
    # Given a message that was adopted, with its caller's own id.
    job_id = a_job("unit.alone", id='order "17"\n', payload={"do": "tell", "folder": str(tmp_path)})
    change(job_id, quarantine=True)

    solos.look()

    assert over(solos, job_id).state == State.SUCCEEDED


@pytest.mark.usefixtures("solos")
def test_processes_that_can_not_begin_are_forked_less_and_less_often(tmp_path, monkeypatch):
    # Given a database that has no connection left but those that the worker has already.
    job_id = quarantined("tell", tmp_path)
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/no/such/folder/ledger.db")
    monkeypatch.setattr(solo, "QUIET_S", 0.3)
    starved = Solos()
    pauses: list[float] = []

    def paused_thrice() -> bool:
        starved.look()
        if starved._failures > len(pauses):
            pauses.append(starved._quiet_until - max(starved._ended_at.values()))
        return len(pauses) == 3

    eventually("it was tried thrice", paused_thrice, within=2 * START_S)

    assert [round(pause, 2) for pause in pauses] == [0.3, 0.6, 1.2]
    assert (row(job_id).state, row(job_id).crashes) == (State.QUEUED, 0)
    end(starved)


def test_an_error_of_a_look_costs_neither_a_slot_nor_the_thread_that_hears_of_ends(solos, tmp_path, monkeypatch):
    looks: list[str] = []

    def out_of_time(*_: Any) -> list[recovery.Suspect]:
        looks.append("failed")
        raise RuntimeError("statement time-out")

    job_id = quarantined("hang", tmp_path)
    solos.look()
    monkeypatch.setattr(recovery, "suspects", out_of_time)
    solos.look()
    (tmp_path / "go on").touch()
    over(solos, job_id)
    eventually("it looked again when it heard of that end", lambda: len(looks) == 2)
    monkeypatch.undo()

    again = quarantined("tell", tmp_path)

    eventually("a suspect runs as ever", partial(succeeds_by_looking, solos, again), within=START_S)
    assert len(looks) == 2


def test_a_job_reads_nothing_of_what_is_meant_for_the_launcher(solos, tmp_path):
    other = quarantined("tell", tmp_path)
    reading = quarantined("read", tmp_path)

    assert solos.run(reading)
    assert solos.run(other)

    assert over(solos, reading).result == ""
    assert over(solos, other).state == State.SUCCEEDED


def test_a_job_is_begun_once_and_no_more_of_them_than_the_lane_has_slots(solos, tmp_path):
    first, second = begun(solos, "hang", tmp_path), begun(solos, "loop", tmp_path)
    third = quarantined("tell", tmp_path)

    assert [solos.run(job_id) for job_id in (first, second, third)] == [False, False, False]
    assert len(solos) == 2
    assert row(third).state == State.QUEUED

    (tmp_path / "go on").touch()
    for job_id in (first, second):
        over(solos, job_id)
    assert solos.run(third)
    assert over(solos, third).state == State.SUCCEEDED


def test_processes_are_fewer_than_slots_where_those_are_many(solos, tmp_path, monkeypatch):
    monkeypatch.setattr(solo, "MOST", 1)
    first, second = begun(solos, "hang", tmp_path), quarantined("tell", tmp_path)

    solos.look()
    assert not solos.run(second)
    assert len(solos) == 1

    (tmp_path / "go on").touch()
    over(solos, first)
    eventually("the next has its turn", partial(succeeds_by_looking, solos, second), within=START_S)


def test_a_stopping_worker_begins_none(solos, tmp_path):
    job_id = quarantined("tell", tmp_path)
    drain.begin()

    assert not solos.run(job_id)

    assert (len(solos), row(job_id).state) == (0, State.QUEUED)


@pytest.mark.parametrize("do", ["loop", "hang"])
def test_a_stopping_worker_gets_its_jobs_back_unburnt_before_the_grace_is_over(solos, tmp_path, do):
    job_id = begun(solos, do, tmp_path)

    began = time.monotonic()
    solos.stop()
    view = over(solos, job_id)

    assert time.monotonic() - began < 3
    assert (view.state, view.attempt, outcomes(view)) == (State.QUEUED, 0, [Outcome.INTERRUPTED])
    assert row(job_id).crashes == 0


def test_a_job_whose_process_alone_is_told_to_stop_is_given_back_and_stops_no_other(solos, tmp_path):
    stopped = begun(solos, "loop", tmp_path)
    os.kill(int((row(stopped).claimed_by or "").rpartition(":")[2]), signal.SIGTERM)
    assert outcomes(over(solos, stopped)) == [Outcome.INTERRUPTED]
    (tmp_path / "loop.begun").unlink()

    # Given another after it, of the same launcher.
    other = begun(solos, "loop", tmp_path)
    (tmp_path / "go on").touch()

    assert outcomes(over(solos, other)) == [Outcome.SUCCEEDED]


def test_a_job_out_of_time_departs_and_its_process_is_gone(solos, tmp_path):
    job_id = begun(solos, "short", tmp_path)

    view = over(solos, job_id)

    assert (view.state, view.attempt, outcomes(view)) == (State.SCHEDULED, 1, [Outcome.TIMED_OUT])
    assert row(job_id).crashes == 0
    pid = int((tmp_path / "short.begun").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_a_launcher_that_was_killed_is_replaced(solos, tmp_path):
    job_id = begun(solos, "hang", tmp_path)
    killed = solos._launcher
    killed.send_signal(signal.SIGKILL)

    # Its word is gone with it; the job itself goes on, and its row says so.
    eventually("the worker hears of it", lambda: len(solos) == 0)
    assert row(job_id).state == State.RUNNING
    (tmp_path / "go on").touch()

    view = over(solos, begun(solos, "tell", tmp_path))
    assert view.state == State.SUCCEEDED
    assert solos._launcher is not killed
    eventually("the first has ended by itself", lambda: row(job_id).state == State.SUCCEEDED)


@pytest.mark.usefixtures("solos")
def test_jobs_of_a_worker_that_died_end_at_their_next_step_and_so_does_the_launcher(tmp_path):
    orphaned = Solos()
    job_id = begun(orphaned, "loop", tmp_path)

    end(orphaned)

    assert orphaned._launcher is not None
    assert orphaned._launcher.returncode == 0
    eventually("the job is given back", lambda: row(job_id).state == State.QUEUED)
    assert row(job_id).attempt == 0


@pytest.mark.usefixtures("solos")
def test_a_folder_for_metrics_that_is_gone_costs_no_job(tmp_path, monkeypatch):
    monkeypatch.setattr(seats, "_folder", tmp_path / "gone")
    uncounted = Solos()
    job_id = quarantined("tell", tmp_path)

    assert uncounted.run(job_id)

    assert over(uncounted, job_id).state == State.SUCCEEDED
    end(uncounted)
