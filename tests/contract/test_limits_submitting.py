"""What a submitter hears of a limited job: let in at once where there is room, else that it waits, and for what."""

from __future__ import annotations

import pytest

from celadon import Receipt, Submission, Submitted, submit, submit_many
from celadon.ledger import limits, moving, session, switches
from celadon.limits import Limit
from celadon.states import State
from tests.contract.given import a_claim, row
from tests.contract.jobs import RAN, anything, inline
from tests.contract.limiting import end, let_go, limit

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RAN.clear()


def test_where_there_is_room_a_limited_job_goes_at_once_as_any_other():
    limit("job", inline.name, concurrency=1)

    first, second = submit(inline.name, {"word": "a"}), submit(inline.name, {"word": "b"})

    # The broker is switched off, so each ran here; and the end of the first made room for the second.
    assert (first.outcome, second.outcome, RAN) == (Submitted.INLINE, Submitted.INLINE, ["a", "b"])


def test_where_there_is_none_it_waits_and_the_receipt_names_the_limit():
    limit("job", anything.name, Limit(starts=10, per_s=10, each="tenant"), concurrency=1)
    first = submit(anything.name, {"value": 1})

    second = submit(anything.name, {"value": 2})

    assert (first.outcome, row(first.job_id).state) == (Submitted.DEFERRED, State.QUEUED)
    assert (second.outcome, row(second.job_id).state) == (Submitted.WAITING, State.WAITING)
    told = "job 'contract.anything' is limited to 1 at a time, and 10 starts in 10 s for each tenant"
    assert second.reason == f"it waits for its turn: {told}"


def test_a_window_holds_for_what_runs_in_the_submitting_process_too():
    limit("job", inline.name, starts=2, per_s=60)

    told = [submit(inline.name, {"word": word}).outcome for word in "abc"]

    assert told == [Submitted.INLINE, Submitted.INLINE, Submitted.WAITING]


def test_a_new_job_waits_behind_those_that_wait_and_the_one_whose_turn_it_is_goes():
    limit("job", anything.name, concurrency=1)
    submit(anything.name, {"value": 0})
    (waiting, _) = (submit(anything.name, {"value": n}) for n in (1, 2))
    limits.set_limits("job", anything.name, [Limit(concurrency=2)], actor="test")
    moving.hold_unplaced()

    new = submit(anything.name, {"value": 3})

    assert new.outcome == Submitted.WAITING
    assert row(waiting.job_id).state == State.QUEUED


def test_a_paused_job_says_what_is_paused():
    switches.pause("tenant", "acme", actor="test")

    receipt = submit(anything.name, {"value": 1}, tenant="acme")

    assert (receipt.outcome, receipt.reason) == (Submitted.WAITING, "tenant 'acme' is paused")


def test_a_limited_job_that_joins_a_session_is_let_in_when_that_commits():
    limit("job", anything.name, concurrency=1)
    with session() as own:
        first = submit(anything.name, {"value": 1}, session=own)
        second = submit(anything.name, {"value": 2}, session=own)
        assert (first.outcome, second.outcome) == (Submitted.PENDING, Submitted.PENDING)
        own.commit()

    assert (first.outcome, second.outcome) == (Submitted.DEFERRED, Submitted.WAITING)
    assert "is limited to 1 at a time" in (second.reason or "")


def test_of_a_bulk_as_many_go_as_there_is_room_for():
    limit("job", anything.name, concurrency=3)

    told = submit_many([Submission(name=anything.name, payload={"value": n}) for n in range(5)])

    receipts = [receipt for receipt in told if isinstance(receipt, Receipt)]
    assert [one.outcome for one in receipts] == [Submitted.DEFERRED] * 3 + [Submitted.WAITING] * 2
    assert [row(one.job_id).state for one in receipts] == [State.QUEUED] * 3 + [State.WAITING] * 2


def test_relief_finds_what_was_released_and_nothing_that_the_claim_would_refuse():
    limit("job", anything.name, concurrency=1)
    first, second = submit(anything.name, {"value": 1}), submit(anything.name, {"value": 2})

    def found() -> list[str]:
        return moving.queued_ids(["data_sync"], [anything.name], 10)

    assert found() == [first.job_id]
    assert let_go() == []
    end(a_claim(first.job_id))
    assert let_go() == [second.job_id]
    assert found() == [second.job_id]
