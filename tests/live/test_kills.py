"""Workers that die, freeze or stop with jobs in their hands (G3, G5, G6, G13)."""

from __future__ import annotations

import os
import signal

import pytest

from tests.eventually import eventually
from tests.freezing import freeze
from tests.live.platform import LEASE_S, Warm


def test_what_a_killed_worker_held_runs_again_and_its_finished_step_does_not(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.stepped", name)
    either.reached(name)
    either.lanes["default"].container.kill_all()
    either.again("default")
    either.gates.open(name)
    row = either.until(receipt["job_id"], "succeeded", within=LEASE_S + 5)
    assert either.attempts(receipt["job_id"]) == ["crashed", "succeeded"]
    assert (row["attempt"], row["crashes"]) == (0, 0), "a bystander's crash burnt a try or was held against it"
    assert either.effects(name) == ["first", "second"]


def test_a_worker_stopped_beyond_its_lease_commits_nothing_when_it_goes_on(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.stepped", name)
    either.reached(name)
    worker = either.lanes["default"]
    freeze(worker.container.pid, either.engine)
    # Another worker takes the job over while the first stands still in the middle of it.
    other = either.started("default")
    second = either.reached(name, times=2, within=LEASE_S + 10)[1]
    assert second != worker.container.pid
    either.gates.open(name)
    either.until(receipt["job_id"], "succeeded")
    worker.kill("SIGCONT")
    eventually("the late run is turned away", lambda: "job.stale" in worker.logs())
    assert either.effects(name) == ["first", "second"]
    assert either.job(receipt["job_id"])["state"] == "succeeded"
    assert either.attempts(receipt["job_id"]) == ["crashed", "succeeded"]
    assert other.stop() == 0


def test_a_killed_child_of_a_prefork_worker_gives_its_job_back_at_once(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.sync.stepped", name)
    (child,) = either.reached(name)
    os.kill(child, signal.SIGKILL)
    # Seen by the parent, so it takes no lease: within a fraction of one it runs again.
    either.attempts_are(receipt["job_id"], "crashed", within=LEASE_S * 0.8)
    assert either.job(receipt["job_id"])["crashes"] == 1, "it was alone in its process"
    either.gates.open(name)
    row = either.until(receipt["job_id"], "succeeded")
    assert row["crashes"] == 0, "crashes are counted from the last step that was done"
    assert either.effects(name) == ["first", "second"]
    assert either.lanes["data_sync"].container.status == "running"


def test_an_orphaned_child_of_a_killed_worker_commits_nothing(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.sync.stepped", name)
    (orphan,) = either.reached(name)
    either.lanes["data_sync"].kill("SIGKILL")
    assert os.path.exists(f"/proc/{orphan}"), "the child died with its parent, so this shows nothing"
    either.again("data_sync")
    either.reached(name, times=2, within=LEASE_S + 10)
    either.gates.open(name)
    either.until(receipt["job_id"], "succeeded")
    eventually("the orphan is gone", lambda: not os.path.exists(f"/proc/{orphan}"), within=15)
    assert either.effects(name) == ["first", "second"]
    assert either.attempts(receipt["job_id"]) == ["crashed", "succeeded"]


def test_poison_work_on_a_prefork_lane_dies_at_its_crash_limit_and_harms_nobody(either: Warm, name: str) -> None:
    receipt = either.call.submit("live.sync.poison", name)
    row = either.until(receipt["job_id"], "dead", within=30)
    assert (row["error_kind"], row["crashes"]) == ("CrashLimit", 3)
    # Perhaps once beside a job that ran alone until a moment before, and three times by itself.
    assert either.attempts(receipt["job_id"]) in (["crashed"] * 3, ["crashed"] * 4)
    either.gates.open(f"{name}-after")
    after = either.call.submit("live.sync.stepped", f"{name}-after")
    either.until(after["job_id"], "succeeded")
    assert either.lanes["data_sync"].container.status == "running"


def test_poison_work_on_a_thread_lane_kills_one_worker_and_then_only_itself(platform: Warm, name: str) -> None:
    bystander = platform.call.submit("live.stepped", f"{name}-bystander")
    platform.reached(f"{name}-bystander")
    receipt = platform.call.submit("live.poison", name)
    eventually("it takes its worker along", lambda: platform.lanes["default"].container.status == "exited")
    worker = platform.again("default")
    platform.gates.open(f"{name}-bystander")
    row = platform.until(receipt["job_id"], "dead", within=30)
    assert (row["error_kind"], row["crashes"]) == ("CrashLimit", 3)
    pids = platform.gates.reached(name)
    # Once in a slot among others, perhaps once beside the other suspect, and three times as the only one.
    assert len(pids) == len(set(pids)) in (4, 5)
    assert worker.container.status == "running"
    # The bystander was a suspect, ran alone, and is none the worse for it.
    saved = platform.until(bystander["job_id"], "succeeded")
    assert (saved["attempt"], saved["crashes"]) == (0, 0)
    assert platform.effects(f"{name}-bystander") == ["first", "second"]


@pytest.mark.parametrize(("job", "lane"), [("live.overrun", "default"), ("live.sync.overrun", "data_sync")])
def test_a_run_out_of_time_ends_as_timed_out_and_is_tried_again(platform: Warm, name: str, job: str, lane: str) -> None:
    receipt = platform.call.submit(job, name)
    (pid,) = platform.reached(name)
    row = platform.until(receipt["job_id"], "succeeded")
    assert platform.attempts(receipt["job_id"]) == ["timed_out", "succeeded"]
    assert row["attempt"] == 1, "a time-out burns a try"
    assert platform.effects(name) == ["late"]
    if lane == "data_sync":
        eventually("the child is killed", lambda: not os.path.exists(f"/proc/{pid}"))
    assert platform.lanes[lane].container.status == "running"
    platform.gates.open(name)


@pytest.mark.parametrize(("job", "lane"), [("live.stepped", "default"), ("live.sync.stepped", "data_sync")])
def test_a_worker_told_to_stop_gives_its_jobs_back_unburnt(platform: Warm, name: str, job: str, lane: str) -> None:
    receipt = platform.call.submit(job, name)
    platform.reached(name)
    assert platform.lanes[lane].stop(timeout=15) == 0
    row = platform.job(receipt["job_id"])
    assert (row["state"], row["attempt"], row["crashes"]) == ("queued", 0, 0)
    assert platform.attempts(receipt["job_id"]) == ["interrupted"]
    platform.gates.open(name)
    platform.again(lane)
    platform.until(receipt["job_id"], "succeeded")
    assert platform.effects(name) == ["first", "second"]


def test_a_stopping_worker_ends_a_run_at_its_next_step(platform: Warm, name: str) -> None:
    receipt = platform.call.submit("live.stepped", name)
    platform.reached(name)
    worker = platform.lanes["default"]
    worker.kill("SIGTERM")
    eventually("it is told to stop", lambda: "shutdown" in worker.logs().lower())
    platform.gates.open(name)
    platform.attempts_are(receipt["job_id"], "interrupted")
    assert platform.effects(name) == ["first"]
    eventually("the worker has ended", lambda: worker.container.status == "exited")
    platform.again("default")
    platform.until(receipt["job_id"], "succeeded")
    assert platform.effects(name) == ["first", "second"]
