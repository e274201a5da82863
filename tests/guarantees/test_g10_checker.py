"""G10's checker finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.figures import Figures
from celadon import due
from tests.guarantees import g10_config
from tests.guarantees.g10_checker import Made, Run, check, fired_again

BEGIN = datetime(2026, 11, 27, 12, tzinfo=UTC)
ROLLED = BEGIN + timedelta(seconds=30.5)
OUTAGE = (BEGIN + timedelta(seconds=38.5), BEGIN + timedelta(seconds=105))  # `skipped` is due at 12:00:40.
END = BEGIN + timedelta(seconds=170)
SOON = timedelta(seconds=0.1)
RUN = Run(begin=BEGIN, rolled=(ROLLED, ROLLED), outage=OUTAGE, end=END, kills=0, stops=0, again=0)


def as_it_should_be() -> list[Made]:
    """Every due time fired at once, and after the outage what the policies say."""
    made: list[Made] = []
    for name in (*g10_config.beat_schedule, "added"):
        entry = g10_config.beat_schedule.get(name, {"schedule": 1, "missed": "all"})
        since, until = (ROLLED, END) if name == "added" else (BEGIN, ROLLED if name == "removed" else END)
        rule = {"every_s": float(entry["schedule"])}
        moments = due.preview(rule, since, 1000, until)
        if name == "changed":
            moments = [*due.preview(rule, since, 1000, ROLLED), *due.preview({"every_s": 3.0}, ROLLED, 1000, END)]
        for moment in moments:
            if OUTAGE[0] < moment <= OUTAGE[1]:
                if entry["missed"] != "all" and moment != due.latest(rule, OUTAGE[1]):
                    continue
                if entry["missed"] == "skip" and OUTAGE[1] - moment > timedelta(minutes=1):
                    continue
                made.append(Made(name, moment, OUTAGE[1] + SOON))
            else:
                made.append(Made(name, moment, moment + SOON))
    return made


def missed_bars(rows: list[Made], run: Run = RUN) -> list[str]:
    figures = Figures()
    check(figures, "", rows, run)
    return [told.split()[1] for told in figures.missed]


def test_a_run_in_which_all_is_as_it_should_be_passes():
    assert missed_bars(as_it_should_be()) == []


@pytest.mark.parametrize("name", ["all-3", "late-1", "latest-0", "changed", "added", "removed", "skipped"])
def test_a_due_time_that_was_not_fired_is_found(name):
    fired = as_it_should_be()
    fired.remove(next(one for one in fired if one.schedule == name))

    assert missed_bars(fired) == ["missed"]


@pytest.mark.parametrize(
    ("name", "seconds"), [("all-3", 1), ("changed", 118), ("removed", 50), ("added", 10), ("x", 9)]
)
def test_a_job_of_a_time_that_was_not_due_is_found(name, seconds):
    moment = BEGIN + timedelta(seconds=seconds)

    assert missed_bars([*as_it_should_be(), Made(name, moment, moment + SOON)]) == ["not_due"]


def test_what_was_missed_and_may_not_be_made_up_for_is_found():
    fired = as_it_should_be()
    too_late = due.preview({"every_s": 70.0}, OUTAGE[0], 1)[0]

    assert missed_bars([*fired, Made("skipped", too_late, OUTAGE[1] + SOON)]) == ["not_due"]


def test_to_make_up_for_another_due_time_than_the_latest_is_found():
    fired = [one for one in as_it_should_be() if one.schedule != "latest-0" or not OUTAGE[0] < one.due <= OUTAGE[1]]
    early = due.preview({"every_s": 4.0}, OUTAGE[0], 1)[0]

    assert missed_bars([*fired, Made("latest-0", early, OUTAGE[1] + SOON)]) == ["missed"]


def test_a_due_time_that_has_two_jobs_is_found():
    fired = as_it_should_be()

    assert missed_bars([*fired, fired[7]]) == ["double"]


def test_a_due_time_that_a_second_scheduler_fired_is_found_though_it_made_no_job(tmp_path):
    told = '{{"schedule": "all-1", "event": "schedule.{}", "level": "warning"}}\n'
    (tmp_path / "beat-killed.log").write_text("not JSON\n" + told.format("fired") + told.format("fired_before"))
    (tmp_path / "beat-calm.log").write_text(told.format("fired"))

    again = fired_again(tmp_path.glob("beat-*.log"))

    assert again == 1
    assert missed_bars(as_it_should_be(), replace(RUN, again=again)) == ["double"]
