"""What `make demo-limits` counts from the notes of its workers."""

from __future__ import annotations

import pytest

from deploy.demo_limits_report import Verdict, at_work, begins, most_at_work, most_in_any_window, read

NOTES = ["1.0 7 begin a\n", "1.5 8 begin b\n", "1.2 7 begin c\n", "3.0 7 end a\n", "3.1 7 begin d\n", "4.0 8 en"]


def test_notes_are_read_in_the_order_of_time_and_whole_ones_only() -> None:
    notes = read(NOTES)
    assert begins(notes) == [1.0, 1.2, 1.5, 3.1]
    assert at_work(notes) == {7: 2, 8: 1}
    assert most_at_work(notes) == 2
    assert most_at_work(read(NOTES[:3])) == 2
    assert most_at_work([]) == 0


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 9.9], 2),
        ([0.0, 10.0], 1),
        ([0.0, 9.0, 10.0, 11.0, 19.0, 30.0], 3),
        ([float(n) for n in range(25)], 10),
    ],
)
def test_the_most_in_any_window_is_looked_for_in_all_of_them(times: list[float], most: int) -> None:
    assert most_in_any_window(times, 10) == most


FIGURES = {
    "orders": 30,
    "complete": 30,
    "receipts_waiting": 20,
    "workers": 2,
    "most_starts_in_window": 10,
    "most_at_once_per_worker": 5,
}


def test_a_limit_that_was_kept_is_good() -> None:
    verdict = Verdict(**FIGURES)
    assert verdict.good(starts=10, per_worker=5)
    assert "most_starts_in_10_s=10" in verdict.lines(10)


@pytest.mark.parametrize(
    "change",
    [{"complete": 29}, {"receipts_waiting": 0}, {"most_starts_in_window": 11}, {"most_at_once_per_worker": 6}],
)
def test_anything_else_is_not(change: dict[str, int]) -> None:
    assert not Verdict(**FIGURES | change).good(starts=10, per_worker=5)
