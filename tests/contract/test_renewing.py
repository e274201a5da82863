"""Keeping a claim: one statement renews all of a process's leases, and says which are lost."""

from __future__ import annotations

import pytest

from celadon.ledger import claims
from celadon.ledger.db import at, begin
from tests.contract.given import ON_POSTGRESQL, OTHER, a_claim, change, let_its_lease_run_out, row

pytestmark = pytest.mark.usefixtures("ledger")


def test_nothing_to_renew_is_nothing_lost():
    assert claims.renew([], 30) == set()


def test_renewing_extends_the_leases_of_all_pairs():
    held = [a_claim(lease_s=1) for _ in range(3)]
    before = [row(claim.job_id).lease_until for claim in held]

    assert claims.renew([(claim.job_id, claim.epoch) for claim in held], 60) == set()

    for claim, until in zip(held, before, strict=True):
        assert 55 < (row(claim.job_id).lease_until - until).total_seconds() < 65


def test_a_lease_that_ran_out_but_was_not_reaped_is_kept():
    claim = a_claim()
    let_its_lease_run_out(claim.job_id)

    assert claims.renew([(claim.job_id, claim.epoch)], 60) == set()
    assert row(claim.job_id).lease_until > row(claim.job_id).claimed_at


def test_a_claim_that_is_gone_is_reported_and_the_next_holders_lease_is_not_touched():
    gone, kept, taken = a_claim(), a_claim(), a_claim()
    claims.finish(gone, None)
    claims.give_back(taken)
    a_claim(taken.job_id, worker=OTHER)
    change(taken.job_id, lease_until=at(5))
    others_lease = row(taken.job_id).lease_until

    lost = claims.renew([(claim.job_id, claim.epoch) for claim in (gone, kept, taken)], 60)

    assert lost == {(gone.job_id, gone.epoch), (taken.job_id, taken.epoch)}
    assert row(taken.job_id).lease_until == others_lease
    assert row(gone.job_id).lease_until is None


def test_an_epoch_counts_only_together_with_its_own_job():
    # Given two running jobs whose epochs differ, and pairs that mix them up.
    young, old = a_claim(), a_claim()
    claims.give_back(old)
    old = a_claim(old.job_id)
    assert young.epoch != old.epoch

    mixed = [(young.job_id, old.epoch), (old.job_id, young.epoch)]

    assert claims.renew(mixed, 60) == set(mixed)


def test_a_job_that_does_not_exist_is_lost():
    assert claims.renew([("nobody", 1)], 60) == {("nobody", 1)}


@ON_POSTGRESQL
def test_a_row_that_another_transaction_has_locked_is_neither_waited_for_nor_called_lost():
    locked, free = a_claim(lease_s=1), a_claim(lease_s=1)
    pairs = [(claim.job_id, claim.epoch) for claim in (locked, free)]

    with begin() as connection:
        claims.fence(connection, locked, 2)

        # A wait for the lock would be a deadlock with ourselves, and the test's time-out.
        assert claims.renew(pairs, 60) == set()
        assert (row(free.job_id).lease_until - row(free.job_id).claimed_at).total_seconds() > 50

    assert (row(locked.job_id).lease_until - row(locked.job_id).claimed_at).total_seconds() < 10
