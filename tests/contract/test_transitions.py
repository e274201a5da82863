"""Every operation in every state: the arrows that can happen are those of the table, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.errors import LostClaim, NotAllowed
from celadon.jobs import Claim
from celadon.ledger import claims, moving, operating, recovery, retention, sending, switches
from celadon.ledger.db import at, begin
from celadon.ledger.writing import withdraw
from celadon.states import TRANSITIONS, State
from tests.contract.given import FAILURE, LEASE_S, NAME, WORKER, a_claim, a_job_that_is, change, row
from tests.contract.pointed import pointed
from tests.ledgers import KINDS, Ledgers

LATER = datetime(2040, 1, 1, tzinfo=UTC)
Act = Callable[[Claim], Any]


@dataclass(frozen=True)
class Move:
    """What one operation did to one job."""

    operation: str
    before: Any
    after: Any


def after(act: Act, **values: Any) -> Act:
    """Do it to a row of which this is so."""

    def prepared(claim: Claim) -> None:
        change(claim.job_id, **values)
        act(claim)

    return prepared


def while_paused(act: Act) -> Act:
    def paused(claim: Claim) -> None:
        switches.pause("job", NAME)
        try:
            act(claim)
        finally:
            switches.resume("job", NAME)

    return paused


def claim_it(claim: Claim) -> None:
    claims.claim(claim.job_id, worker=WORKER, engine="worker", lease_s=LEASE_S, alone=True)


def refuse(claim: Claim) -> None:
    with begin() as connection:
        withdraw(connection, claim.job_id, "the broker is away")


def try_again(claim: Claim) -> None:
    claims.fail(claim, FAILURE, retry_in_s=5, alert_after=3)


OPERATIONS: dict[str, Act] = {
    "claim": claim_it,
    "claim while paused": while_paused(claim_it),
    "claim when expired": after(claim_it, expires_at=at(-1)),
    "finish": lambda claim: claims.finish(claim, None),
    "fail, to be tried again": try_again,
    "fail, though a cancel was asked for": after(try_again, cancel_requested=True),
    "fail for good": lambda claim: claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3),
    "give back": claims.give_back,
    "give back, though a cancel was asked for": after(claims.give_back, cancel_requested=True),
    "postpone": lambda claim: claims.postpone(claim, 2),
    "postpone, though a cancel was asked for": after(lambda claim: claims.postpone(claim, 2), cancel_requested=True),
    "sleep": lambda claim: claims.sleep(claim, LATER),
    "sleep, though a cancel was asked for": after(lambda claim: claims.sleep(claim, LATER), cancel_requested=True),
    "end cancelled": claims.end_cancelled,
    "renew": lambda claim: claims.renew([(claim.job_id, claim.epoch)], LEASE_S),
    "promote": after(lambda _: moving.promote(), run_at=at(-1)),
    "promote while paused": after(while_paused(lambda _: moving.promote()), run_at=at(-1)),
    "release": lambda _: moving.release(),
    "release while paused": while_paused(lambda _: moving.release()),
    "unpark": lambda _: moving.unpark({(("default",), (NAME,))}),
    "expire": after(lambda _: moving.expire(), expires_at=at(-1)),
    "park": lambda claim: moving.park(claim.job_id),
    "hold": lambda claim: moving.hold(claim.job_id),
    "refuse": refuse,
    "cancel": lambda claim: operating.cancel(claim.job_id),
    "replay": lambda claim: operating.replay(claim.job_id),
    "reap": after(lambda _: recovery.reap(), lease_until=at(-1)),
    "reap at the crash limit": after(
        lambda _: recovery.reap(), lease_until=at(-1), claimed_by="host:sole:1", exclusive=True, crashes=2
    ),
    "reap, though a cancel was asked for": after(lambda _: recovery.reap(), lease_until=at(-1), cancel_requested=True),
    "release of the dead": lambda _: recovery.release_dead(WORKER),
    "send": after(lambda _: sending.take_unsent(), send_due=at(-1), sends=0),
    "send again": after(lambda _: sending.take_overdue("default", 500), send_due=at(-1), sends=1),
    "forget keys": lambda _: retention.forget_keys(),
}


@pytest.fixture(scope="module", params=KINDS)
def walk(request: pytest.FixtureRequest, ledgers: Ledgers) -> Iterator[list[Move]]:
    """Each operation done to a job in each state, with a claim that names the row's present epoch."""
    with pointed(ledger_url=ledgers.fresh(request.param), use_broker="false"):
        some = a_claim()
        moves = []
        for state in State:
            for name, act in OPERATIONS.items():
                job_id = a_job_that_is(state)
                before = row(job_id)
                with suppress(LostClaim, NotAllowed):
                    act(replace(some, job_id=job_id, scope=job_id, epoch=before.epoch))
                moves.append(Move(name, before, row(job_id)))
        yield moves


def test_every_arrow_of_the_table_happens_and_no_other(walk: list[Move]):
    happened = {(move.before.state, move.after.state) for move in walk if move.before.state != move.after.state}

    assert happened == {(here, there) for here, reachable in TRANSITIONS.items() for there in reachable}


def test_final_states_are_left_by_replay_of_the_dead_alone(walk: list[Move]):
    finals = (State.SUCCEEDED, State.DEAD, State.CANCELLED)
    left = {(move.operation, move.before.state) for move in walk if move.before.state in finals} & {
        (move.operation, move.before.state) for move in walk if move.before.state != move.after.state
    }

    assert left == {("replay", State.DEAD)}


def test_a_queued_job_always_has_a_time_at_which_it_is_sent(walk: list[Move]):
    ways_in = {move.operation for move in walk if move.after.state == State.QUEUED != move.before.state}

    assert ways_in == {"give back", "promote", "release", "unpark", "reap", "release of the dead"}
    assert [move for move in walk if move.after.state == State.QUEUED and move.after.send_due is None] == []


def test_what_came_into_queued_is_due_to_be_sent_at_once(walk: list[Move]):
    for move in walk:
        if move.after.state == State.QUEUED != move.before.state:
            assert move.after.sends == 0, move.operation
            assert abs(move.after.send_due - move.after.queued_at) < timedelta(milliseconds=100), move.operation


def test_every_entry_and_every_departure_of_running_raises_the_epoch(walk: list[Move]):
    for move in walk:
        moved = move.before.state != move.after.state and State.RUNNING in (move.before.state, move.after.state)

        assert move.after.epoch - move.before.epoch == int(moved), (move.operation, move.before.state)


def test_a_lease_stands_while_a_job_runs_and_only_then(walk: list[Move]):
    for move in walk:
        if move.before.state != move.after.state:
            assert (move.after.lease_until is not None) == (move.after.state == State.RUNNING), move.operation


def test_a_final_job_has_an_end_and_no_other_has(walk: list[Move]):
    for move in walk:
        final = move.after.state in (State.SUCCEEDED, State.DEAD, State.CANCELLED)

        assert (move.after.finished_at is not None) == final, (move.operation, move.before.state)
