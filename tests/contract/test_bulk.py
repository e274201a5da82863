"""Many jobs at once, on each database: each judged by itself, all that can be accepted stored together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from celadon import Receipt, Submitted, broker, bulk, find, submit
from celadon.bulk import MAX_JOBS, Submission, submit_many
from celadon.errors import (
    InvalidOption,
    InvalidPayload,
    KeyConflict,
    LedgerUnavailable,
    PayloadTooLarge,
    Refused,
    UnknownJob,
    UnknownQueue,
)
from celadon.ledger import claims, switches
from celadon.ledger.db import begin
from celadon.ledger.tables import jobs, keys
from celadon.ledger.writing import withdraw
from celadon.states import State
from tests.contract.given import LEASE_S, WORKER, count, race, row, settle
from tests.contract.jobs import RAN, anything, inline, refused
from tests.contract.pointed import pointed

pytestmark = pytest.mark.usefixtures("ledger")


def a(value: object = 1, **options: object) -> Submission:
    return Submission(name=anything.name, payload={"value": value}, **options)  # type: ignore[arg-type]


def receipts(results: list[object]) -> list[Receipt]:
    assert all(isinstance(result, Receipt) for result in results), results
    return results  # type: ignore[return-value]


def test_each_job_gets_its_receipt_in_the_order_given():
    told = receipts(submit_many([a(number) for number in range(20)]))

    assert [row(receipt.job_id).payload["value"] for receipt in told] == list(range(20))
    assert {receipt.outcome for receipt in told} == {Submitted.DEFERRED}
    assert sorted(receipt.job_id for receipt in told) == [receipt.job_id for receipt in told]


def test_what_can_not_be_accepted_keeps_nothing_else_from_it():
    told = submit_many(
        [
            a(),
            Submission(name="contract.anythin", payload={}),
            Submission(name=anything.name, payload={"valu": 1}),
            a(queue="nope"),
            a(priority=99),
            a("x" * 300_000),
            a(run_at=datetime(2030, 1, 1)),  # noqa: DTZ001
            a(),
        ]
    )

    kinds = [Receipt, UnknownJob, InvalidPayload, UnknownQueue, InvalidOption, PayloadTooLarge, InvalidOption, Receipt]
    assert list(map(type, told)) == kinds
    assert "did you mean 'contract.anything'" in str(told[1])
    assert count(jobs) == 2


def test_a_key_gives_the_first_job_and_its_conflict_stops_nobody():
    first = submit(anything.name, {"value": 1}, key="k")

    told = submit_many([a(1, key="k"), a(2, key="k"), a(3, key="new"), a(3, key="new"), a(4, key="new"), a(5)])

    assert [type(result) for result in told] == [Receipt, KeyConflict, Receipt, Receipt, KeyConflict, Receipt]
    duplicate, _, new, again, _, _ = told
    assert isinstance(duplicate, Receipt)
    assert (duplicate.outcome, duplicate.job_id) == (Submitted.DUPLICATE, first.job_id)
    assert isinstance(new, Receipt)
    assert isinstance(again, Receipt)
    assert (new.outcome, again.outcome, again.job_id) == (Submitted.DEFERRED, Submitted.DUPLICATE, new.job_id)
    assert (count(jobs), count(keys)) == (3, 2)


def test_what_is_due_later_or_paused_says_so():
    switches.pause("queue", "default")
    soon = datetime.now(UTC) + timedelta(hours=1)

    told = receipts(submit_many([a(delay=60), a(run_at=soon), a(queue="default"), a()]))

    said = [receipt.outcome for receipt in told]
    assert said == [Submitted.SCHEDULED, Submitted.SCHEDULED, Submitted.WAITING, Submitted.DEFERRED]


def test_with_the_broker_away_nothing_runs_here_and_what_refuses_is_refused():
    RAN.clear()

    ran, no = submit_many(
        [Submission(name=inline.name, payload={"word": "x"}), Submission(name=refused.name, payload={"word": "x"})]
    )

    assert isinstance(ran, Receipt)
    assert (ran.outcome, RAN, row(ran.job_id).state) == (Submitted.DEFERRED, [], State.QUEUED)
    assert isinstance(no, Refused)
    assert row(no.job_id).state == State.CANCELLED


def test_who_repeats_a_key_is_not_given_a_job_that_was_refused():
    twice = [Submission(name=refused.name, payload={"word": "x"}, key="k") for _ in range(2)]

    told = submit_many([*twice, a()])

    assert [type(result) for result in told] == [Refused, Refused, Receipt]
    assert told[0] is told[1]
    assert count(keys) == 0


def test_what_refuses_is_taken_back_together_and_what_a_worker_has_is_picked_up(monkeypatch):
    # Given a broker that hands the second job over, and then says that it is away
    def send(jobs):
        claims.claim(list(jobs)[1][0], worker=WORKER, engine="worker", lease_s=LEASE_S)
        raise broker.NotSent("away", maybe=True)

    monkeypatch.setattr(broker, "send_many", send)
    monkeypatch.setattr(bulk, "off_broker", lambda new: None)
    begun = []
    monkeypatch.setattr(bulk, "begin", lambda: begun.append(1) or begin())
    # When some are submitted whose policy is to refuse
    first, second, third = submit_many([Submission(name=refused.name, payload={"word": "x"})] * 3)
    # Then the claim decides, and the ledger was asked once to store and once to take back
    assert (type(first), type(third), len(begun)) == (Refused, Refused, 2)
    assert isinstance(second, Receipt)
    assert (second.outcome, second.by) == (Submitted.PICKED_UP, WORKER)
    assert row(second.job_id).state == State.RUNNING


def test_what_can_not_be_taken_back_for_the_ledger_is_away_is_left_to_it(monkeypatch):
    def away(*_):
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(bulk, "withdraw", away)

    no, other = receipts(submit_many([Submission(name=refused.name, payload={"word": "x"}), a()]))

    assert (no.outcome, row(no.job_id).state) == (Submitted.DEFERRED, State.QUEUED)
    assert str(no.reason).endswith("then the ledger went away: gone")
    assert "gone" not in str(other.reason)


def test_what_was_said_to_be_left_to_the_ledger_is_not_taken_back_late(monkeypatch):
    given_up = Event()

    def slow(connection, job_id, reason):
        given_up.wait()
        return withdraw(connection, job_id, reason)

    monkeypatch.setattr(bulk, "withdraw", slow)
    with pointed(ledger_timeout_s="0.5"):
        (receipt,) = receipts(submit_many([Submission(name=refused.name, payload={"word": "x"})]))
        given_up.set()
        settle()

    assert (receipt.outcome, row(receipt.job_id).state) == (Submitted.DEFERRED, State.QUEUED)


def test_the_ledger_is_given_more_time_for_more_jobs():
    with pointed(ledger_timeout_s="0.001"):
        assert len(receipts(submit_many([a() for _ in range(MAX_JOBS)]))) == MAX_JOBS


def test_two_bulks_that_share_keys_never_deadlock():
    names = [f"k{number}" for number in range(40)]

    told = race(4, lambda n: submit_many([a(key=key) for key in (names if n % 2 else reversed(names))]))

    assert count(jobs) == 40
    said = [receipt.outcome for results in told for receipt in receipts(results)]
    assert (said.count(Submitted.DEFERRED), said.count(Submitted.DUPLICATE)) == (40, 120)


def test_none_is_fine_and_too_many_are_not():
    assert submit_many([]) == []
    with pytest.raises(InvalidOption, match="1001 jobs at once: at most 1000"):
        submit_many([a()] * (MAX_JOBS + 1))

    assert count(jobs) == 0


def test_if_the_ledger_goes_away_in_the_middle_nothing_is_accepted(monkeypatch):
    insert, done = bulk.insert_job, []

    def failing(connection, new):
        if len(done) == 2:
            raise LedgerUnavailable("gone")
        done.append(new.id)
        return insert(connection, new)

    monkeypatch.setattr(bulk, "insert_job", failing)

    with pytest.raises(LedgerUnavailable) as refusal:
        submit_many([a(key="k"), a(), a()])

    # The id that it tells is of a job that has no key, and so could be nobody's duplicate.
    assert refusal.value.job_id == done[0]
    assert (count(jobs), count(keys), find(done[0])) == (0, 0, None)
