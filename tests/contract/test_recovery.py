"""Jobs whose runner is gone: who is blamed, who is only suspected, and when it is enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import select

from celadon.jobs import Recovered
from celadon.ledger import claims, marks, presence, recovery
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import alerts, attempts, jobs, workers
from celadon.states import Outcome, State
from tests.contract.given import (
    FAILURE,
    LEASE_S,
    NAME,
    ON_POSTGRESQL,
    OTHER,
    WORKER,
    a_claim,
    a_job,
    change,
    count,
    let_its_lease_run_out,
    race,
    row,
)

pytestmark = pytest.mark.usefixtures("ledger")

LIMIT = 3  # CRASH_LIMIT's default.


def unseen(job_id: str) -> list[Recovered]:
    """Its worker goes silent, and its lease runs out."""
    let_its_lease_run_out(job_id)
    return recovery.reap()


def witnessed(job_id: str) -> list[Recovered]:
    """Its process, in which it was alone, is seen to die."""
    return recovery.release_dead(WORKER)


def outcomes(job_id: str) -> list[str]:
    with reading() as connection:
        rows = connection.execute(select(attempts.c.outcome).where(attempts.c.job_id == job_id).order_by("epoch"))
        return list(rows.scalars())


def test_a_lease_that_stands_is_left_alone():
    claim = a_claim()

    assert recovery.reap() == []

    assert row(claim.job_id).state == State.RUNNING


def test_a_lease_that_ran_out_puts_the_job_back_at_once_and_burns_no_try():
    claim = a_claim()

    (recovered,) = unseen(claim.job_id)
    assert (recovered.job_id, recovered.name, recovered.state) == (claim.job_id, NAME, State.QUEUED)
    assert (recovered.outcome, recovered.worker, recovered.queue) == (Outcome.CRASHED, WORKER, "default")

    kept = row(claim.job_id)
    assert (kept.state, kept.attempt, kept.sends) == (State.QUEUED, 0, 0)
    assert kept.send_due is not None
    assert outcomes(claim.job_id) == [Outcome.CRASHED]


def test_a_job_whose_worker_fell_silent_is_a_suspect_to_be_run_alone_but_not_blamed():
    claim = a_claim()

    unseen(claim.job_id)

    assert (row(claim.job_id).crashes, row(claim.job_id).quarantine) == (0, True)


def test_a_job_whose_own_process_was_seen_to_die_is_blamed():
    claim = a_claim()

    witnessed(claim.job_id)

    assert (row(claim.job_id).crashes, row(claim.job_id).quarantine) == (1, True)


def test_a_suspect_whose_whole_worker_died_is_not_blamed_but_runs_next_as_its_workers_only_suspect():
    claim = a_claim()
    unseen(claim.job_id)

    a_claim(claim.job_id)
    unseen(claim.job_id)

    kept = row(claim.job_id)
    assert (kept.crashes, kept.quarantine, kept.exclusive) == (0, True, True)


def test_the_only_suspect_of_a_worker_that_died_is_blamed():
    job_id = a_job()
    make_exclusive(job_id)

    a_claim(job_id, exclusive=True)
    unseen(job_id)

    assert (row(job_id).crashes, row(job_id).exclusive) == (1, True)


def test_a_job_whose_process_was_killed_beside_others_runs_next_as_the_only_suspect_and_is_not_blamed():
    claim = a_claim()

    recovery.release_dead(WORKER, in_company=True)

    kept = row(claim.job_id)
    assert (kept.state, kept.crashes, kept.exclusive) == (State.QUEUED, 0, True)


def test_the_only_suspect_is_not_blamed_for_its_own_process_if_that_was_killed_beside_others():
    job_id = a_job()
    make_exclusive(job_id)
    a_claim(job_id, exclusive=True)

    recovery.release_dead(WORKER, in_company=True)

    assert (row(job_id).crashes, row(job_id).deaths) == (0, 1)


def test_twenty_bystanders_of_a_container_that_dies_again_and_again_are_not_condemned():
    # Given a job that takes its whole worker along, whatever runs beside it, and twenty that do nothing.
    poison, *bystanders = (a_job() for _ in range(21))

    for boot in range(LIMIT * 3):
        if row(poison).state == State.DEAD:
            break
        runs = [
            job_id
            for number, job_id in enumerate([poison, *bystanders])
            if claims.claim(
                job_id,
                worker=f"host:boot{boot}:{number}",
                engine="worker",
                lease_s=LEASE_S,
                alone=not row(job_id).exclusive,
                exclusive=row(job_id).exclusive,
            )
        ]
        for job_id in runs:
            change(job_id, lease_until=at(-1))
        recovery.reap()

    assert (row(poison).state, row(poison).crashes) == (State.DEAD, LIMIT)
    assert {row(job_id).state for job_id in bystanders} == {State.QUEUED}
    assert {row(job_id).crashes for job_id in bystanders} == {0}


def make_exclusive(job_id: str) -> None:
    change(job_id, quarantine=True, exclusive=True)


def test_an_exclusive_job_is_only_for_who_runs_no_other_suspect_beside_it():
    first, second, other = a_job(), a_job(), a_job()
    for job_id in (first, second):
        make_exclusive(job_id)
    change(other, quarantine=True)

    def taken(job_id: str, worker: str = WORKER, **how: bool) -> bool:
        return claims.claim(job_id, worker=worker, engine="worker", lease_s=LEASE_S, **how) is not None

    assert not taken(first), "by a slot among others"
    assert not taken(first, alone=True), "side by side with other suspects"
    assert taken(first, exclusive=True)
    # While it runs, its worker begins no other suspect; another worker does.
    assert not taken(second, "host:boot:2", exclusive=True)
    assert not taken(other, "host:boot:2", alone=True)
    assert taken(second, "host:another:1", exclusive=True)
    assert a_claim(worker="host:boot:3"), "what nobody suspects is not held up"


def test_an_exclusive_job_waits_for_the_suspects_that_run_already():
    running, waiting = a_job(), a_job()
    change(running, quarantine=True)
    make_exclusive(waiting)
    beside = a_claim(running)

    assert claims.claim(waiting, worker=OTHER, engine="worker", lease_s=LEASE_S, exclusive=True) is None

    claims.finish(beside, None)
    a_claim(waiting, exclusive=True)


@ON_POSTGRESQL
def test_two_suspects_of_a_worker_that_are_claimed_at_one_moment_do_not_both_pass_for_the_only_one():
    exclusive, other = a_job(), a_job()
    make_exclusive(exclusive)
    change(other, quarantine=True)

    def take() -> None:
        claims.claim(other, worker="host:boot:1", engine="worker", lease_s=LEASE_S, alone=True)

    # As long as the first has not committed, the second waits.
    with begin() as connection:
        claims._one_suspect_at_a_time(connection, "host:boot")
        second = Thread(target=take, daemon=True)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        first = {"state": State.RUNNING, "claimed_by": "host:boot:0", "lease_until": at(LEASE_S)}
        connection.execute(jobs.update().where(jobs.c.id == exclusive).values(**first))
    second.join()

    assert row(other).state == State.QUEUED


@pytest.mark.parametrize(("crash", "runs"), [(witnessed, LIMIT), (unseen, LIMIT + 2)])
def test_a_job_that_kills_its_processes_is_dead_at_the_crash_limit_with_one_alert(
    crash: Callable[[str], list[Recovered]], runs: int
):
    job_id = a_job()

    for _ in range(runs):
        assert row(job_id).state == State.QUEUED
        a_claim(job_id, exclusive=row(job_id).exclusive)
        crash(job_id)

    kept = row(job_id)
    assert (kept.state, kept.crashes, kept.error_kind, kept.attempt) == (State.DEAD, LIMIT, "CrashLimit", 0)
    assert "what ran it died 3 times, and nothing else can have done it" in kept.error_message
    assert kept.finished_at is not None
    assert kept.send_due is None
    assert outcomes(job_id) == [Outcome.CRASHED] * runs
    assert count(alerts, alerts.c.job_id == job_id, alerts.c.kind == "dead") == 1


def test_bystanders_of_a_crash_are_never_condemned():
    # Given a job that always shares its process with another, and whose worker dies again and again.
    job_id = a_job()

    for _ in range(LIMIT * 2):
        a_claim(job_id)
        unseen(job_id)
        change(job_id, quarantine=False, exclusive=False)

    assert (row(job_id).state, row(job_id).crashes) == (State.QUEUED, 0)


@pytest.mark.parametrize("ended", ["finished", "failed", "went to sleep"])
def test_a_run_that_comes_to_its_own_end_clears_the_job(ended: str):
    job_id = a_job()
    make_exclusive(job_id)
    change(job_id, crashes=LIMIT - 1)
    claim = a_claim(job_id, exclusive=True)

    if ended == "finished":
        claims.finish(claim, None)
    elif ended == "failed":
        claims.fail(claim, FAILURE, retry_in_s=1, alert_after=3)
    else:
        with reading() as connection:
            claims.sleep(claim, clock(connection))

    assert (row(job_id).quarantine, row(job_id).exclusive) == (False, False)
    if ended != "finished":
        assert row(job_id).crashes == 0


@pytest.mark.parametrize("ended", ["was given back", "timed out"])
def test_a_run_that_was_ended_from_outside_clears_nobody(ended: str):
    job_id = a_job()
    make_exclusive(job_id)
    change(job_id, crashes=1)
    claim = a_claim(job_id, exclusive=True)

    if ended == "was given back":
        claims.give_back(claim)
    else:
        claims.fail(claim, FAILURE, retry_in_s=1, alert_after=3, outcome=Outcome.TIMED_OUT)

    assert (row(job_id).quarantine, row(job_id).exclusive, row(job_id).crashes) == (True, True, 1)


def test_a_step_that_is_done_counts_the_crashes_anew():
    # Given a long job whose worker is killed by its operator at every deployment, and which gets on meanwhile.
    job_id = a_job()
    make_exclusive(job_id)

    for deployment in range(LIMIT * 2):
        claim = a_claim(job_id, exclusive=True)
        marks.start(claim, f"part {deployment}", "key", LEASE_S)
        with begin() as connection:
            marks.done(connection, claim, f"part {deployment}", None, LEASE_S)
        unseen(job_id)

    assert (row(job_id).state, row(job_id).crashes) == (State.QUEUED, 1)


def appeared(boot: str, *, seen_s_ago: float) -> None:
    presence.appear(presence.Worker(id=boot, host="host", pid=1, lane="default", queues=(), tasks=(), concurrency=1))
    with begin() as connection:
        connection.execute(workers.update().where(workers.c.id == boot).values(last_seen=at(-seen_s_ago)))


@pytest.mark.parametrize(("others_silence_s", "blamed"), [(20, 0), (0, 1), (300, 1)])
def test_the_only_suspect_is_not_blamed_when_another_process_of_the_fleet_died_at_that_moment(
    others_silence_s: float, blamed: int
):
    job_id = a_job()
    make_exclusive(job_id)
    appeared("host:boot", seen_s_ago=21)
    appeared("host:beat", seen_s_ago=others_silence_s)

    a_claim(job_id, exclusive=True)
    unseen(job_id)

    assert row(job_id).crashes == blamed


def test_poison_that_takes_other_processes_of_the_fleet_along_is_dead_at_a_higher_limit():
    # Given a worker and a Beat in one container, which the job takes down as a whole.
    job_id = a_job()
    make_exclusive(job_id)

    deaths = 0
    while row(job_id).state == State.QUEUED and deaths < 4 * LIMIT:
        deaths += 1
        appeared(f"host:{deaths}", seen_s_ago=21)
        appeared(f"host:beat{deaths}", seen_s_ago=20)
        a_claim(job_id, worker=f"host:{deaths}:1", exclusive=True)
        unseen(job_id)

    kept = row(job_id)
    assert (kept.state, deaths, kept.crashes, kept.error_kind) == (State.DEAD, 3 * LIMIT, 0, "CrashLimit")
    assert f"what ran it died {deaths} times in a row, though never it alone" in kept.error_message
    assert count(alerts, alerts.c.job_id == job_id, alerts.c.kind == "dead") == 1


def test_deaths_in_a_row_are_counted_anew_when_a_step_is_done():
    job_id = a_job()
    make_exclusive(job_id)
    change(job_id, deaths=3 * LIMIT - 1)
    claim = a_claim(job_id, exclusive=True)

    with begin() as connection:
        claims.fence(connection, claim, LEASE_S, progress=True)

    assert row(job_id).deaths == 0


def test_a_worker_that_died_while_it_was_stopping_convicts_nobody():
    # Given deployments that stop the fleet and kill it before its grace is over.
    job_id = a_job()
    make_exclusive(job_id)

    for deployment in range(4 * LIMIT):
        for boot in ("a", "b"):
            appeared(f"host:{boot}{deployment}", seen_s_ago=20)
        with begin() as connection:
            connection.execute(workers.update().values(stopping=True))
        a_claim(job_id, worker=f"host:a{deployment}:1", exclusive=True)
        unseen(job_id)

    assert (row(job_id).state, row(job_id).crashes, row(job_id).deaths) == (State.QUEUED, 0, 0)


def test_another_that_was_stopping_is_one_that_fell_silent_too():
    job_id = a_job()
    make_exclusive(job_id)
    appeared("host:boot", seen_s_ago=20)
    appeared("host:other", seen_s_ago=20)
    with begin() as connection:
        connection.execute(workers.update().where(workers.c.id == "host:other").values(stopping=True))

    a_claim(job_id, exclusive=True)
    unseen(job_id)

    assert (row(job_id).crashes, row(job_id).deaths) == (0, 1)


@pytest.mark.parametrize("first", ["the innocent's lease", "the poison's lease", "both at once"])
def test_an_innocent_is_not_convicted_of_what_a_job_did_that_nobody_suspects_yet(first: str):
    innocent = a_job()
    make_exclusive(innocent)

    for boot in range(LIMIT):
        poison = a_job()
        a_claim(innocent, worker=f"host:boot{boot}:7", exclusive=True)
        a_claim(poison, worker=f"host:boot{boot}:1")
        if first != "the poison's lease":
            change(innocent, lease_until=at(-1))
        if first != "the innocent's lease":
            change(poison, lease_until=at(-2))
        recovery.reap()
        for job_id in (innocent, poison):
            change(job_id, lease_until=at(-1))
        recovery.reap()

    assert (row(innocent).state, row(innocent).crashes) == (State.QUEUED, 0)


def test_a_job_that_has_cleared_its_name_is_no_excuse():
    poison, other = a_job(), a_job()
    make_exclusive(poison)
    a_claim(poison, worker="host:boot:1", exclusive=True)
    a_claim(other, worker="host:boot:2")

    unseen(other)
    claims.finish(a_claim(other, worker="host:later:1"), None)
    unseen(poison)

    assert row(poison).crashes == 1


def test_two_poison_jobs_that_die_at_the_same_moment_are_no_excuse_for_each_other():
    poisons = {"host:one": a_job(), "host:two": a_job()}

    for boot, job_id in poisons.items():
        make_exclusive(job_id)
        appeared(boot, seen_s_ago=20)
        a_claim(job_id, worker=f"{boot}:1", exclusive=True)
        change(job_id, lease_until=at(-1))
    recovery.reap()

    assert [row(job_id).crashes for job_id in poisons.values()] == [1, 1]


def test_a_worker_that_fell_silent_is_seen_before_its_leases_run_out():
    claim = a_claim(lease_s=10)
    assert not recovery.some_fell_silent(["default"], 10)

    change(claim.job_id, lease_until=at(3))

    assert recovery.some_fell_silent(["default"], 10)
    assert not recovery.some_fell_silent(["data_sync"], 10)


def test_suspects_are_taken_up_those_side_by_side_first_and_then_who_was_blamed_least():
    names = [a_job() for _ in range(4)]
    often, once, never, beside = names
    for job_id, crashes in ((often, 2), (once, 1), (never, 0)):
        make_exclusive(job_id)
        change(job_id, crashes=crashes)
    change(beside, quarantine=True)
    a_job()

    found = recovery.suspects(["default"], [NAME], 10)

    assert [one.job_id for one in found] == [beside, never, once, often]
    assert [one.exclusive for one in found] == [False, True, True, True]


def test_leases_lost_while_the_ledger_was_away_are_nobodys_crash():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        now = clock(connection)

    recovery.reap(amnesty_until=now)

    kept = row(claim.job_id)
    assert (kept.state, kept.crashes, kept.quarantine) == (State.QUEUED, 0, False)
    assert outcomes(claim.job_id) == [Outcome.LOST]


def test_a_lease_that_ran_out_after_the_amnesty_is_a_crash():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        an_hour_ago = clock(connection) - timedelta(hours=1)

    recovery.reap(amnesty_until=an_hour_ago)

    assert outcomes(claim.job_id) == [Outcome.CRASHED]
    assert row(claim.job_id).quarantine


def test_an_amnesty_does_not_lift_a_quarantine():
    claim = a_claim()
    unseen(claim.job_id)
    a_claim(claim.job_id)
    let_its_lease_run_out(claim.job_id)
    with reading() as connection:
        now = clock(connection)

    recovery.reap(amnesty_until=now)

    assert (row(claim.job_id).quarantine, row(claim.job_id).crashes) == (True, 0)


def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_runner_is_gone():
    claim = a_claim()
    change(claim.job_id, cancel_requested=True, crashes=LIMIT - 1)

    witnessed(claim.job_id)

    assert row(claim.job_id).state == State.CANCELLED
    assert row(claim.job_id).finished_at is not None
    assert count(alerts) == 0


def test_only_what_the_dead_process_held_is_released():
    mine, others = a_claim(), a_claim(worker=OTHER)
    finished = a_claim()
    claims.finish(finished, None)

    assert [one.job_id for one in recovery.release_dead(WORKER)] == [mine.job_id]

    assert row(others.job_id).state == State.RUNNING
    assert row(finished.job_id).state == State.SUCCEEDED


def test_a_process_holds_what_it_claimed_until_it_is_released():
    claim = a_claim()
    assert (recovery.holds(WORKER), recovery.holds(OTHER)) == (True, False)

    recovery.release_dead(WORKER)
    assert not recovery.holds(WORKER)

    claims.finish(a_claim(claim.job_id), None)
    assert not recovery.holds(WORKER)


@ON_POSTGRESQL
def test_a_row_that_is_locked_is_left_to_a_second_look():
    # Given a process that held two jobs when it died, and its dying transaction still has one of them locked.
    locked, free = a_claim(), a_claim()

    with begin() as connection:
        claims.fence(connection, locked, LEASE_S)

        # A wait for the lock would be a deadlock with ourselves, and the test's time-out.
        assert [one.job_id for one in recovery.release_dead(WORKER)] == [free.job_id]
        assert recovery.holds(WORKER)

    assert [one.job_id for one in recovery.release_dead(WORKER)] == [locked.job_id]
    assert not recovery.holds(WORKER)


def test_several_schedulers_reap_a_job_once():
    claims_ = [a_claim() for _ in range(6)]
    for claim in claims_:
        change(claim.job_id, lease_until=at(-1))

    recovered = [one.job_id for found in race(4, lambda _: recovery.reap()) for one in found]

    assert sorted(recovered) == sorted(claim.job_id for claim in claims_)
    assert count(attempts) == len(claims_)
    assert {row(claim.job_id).epoch for claim in claims_} == {2}
