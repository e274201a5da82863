"""The wait before the next try: it doubles, ends at a cap, and is spread."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celadon.backoff import JITTER, delay_s

FIRST, CAP = timedelta(seconds=5), timedelta(minutes=2)


@pytest.mark.parametrize(
    ("failed", "least_s"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 120), (7, 120), (10_000, 120)]
)
def test_the_wait_doubles_with_each_failure_up_to_the_cap(failed, least_s):
    waits = [delay_s(failed, FIRST, CAP) for _ in range(200)]

    assert least_s <= min(waits) <= max(waits) <= min(least_s * (1 + JITTER), CAP.total_seconds())


def test_jobs_that_failed_together_do_not_come_back_together():
    waits = [delay_s(1, FIRST, CAP) for _ in range(200)]

    assert max(waits) - min(waits) > 5 * JITTER / 2


def test_no_backoff_is_no_wait():
    assert delay_s(3, timedelta(0), CAP) == 0


def test_a_cap_below_the_first_wait_holds_from_the_start():
    assert {delay_s(1, timedelta(hours=1), timedelta(seconds=1)) for _ in range(50)} == {1}
