"""Due times are pure functions of a rule and an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from celery.schedules import crontab, schedule

from celadon.due import following, latest, rule_of
from celadon.errors import CeladonError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(rule: object, after: str, times: int = 1) -> list[str]:
    """The next due times, as text."""
    moment, found = at(after), []
    for _ in range(times):
        moment = following(rule_of("x", rule), moment)
        found.append(moment.strftime("%Y-%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize("given", [90, 90.0, timedelta(seconds=90), schedule(run_every=90)], ids=repr)
def test_an_interval_is_told_in_any_of_celerys_ways(given):
    assert rule_of("x", given) == {"every_s": 90.0}


def test_a_crontab_survives_as_json():
    rule = rule_of("x", crontab(minute="*/15", hour="8-10", day_of_week="mon-fri"))

    assert rule == {
        "crontab": {
            "minute": "*/15",
            "hour": "8-10",
            "day_of_week": "mon-fri",
            "day_of_month": "*",
            "month_of_year": "*",
        }
    }


@pytest.mark.parametrize("given", [0, 0.5, -5, timedelta(0), "hourly", None, True])
def test_what_is_no_schedule_is_refused_with_its_name(given):
    with pytest.raises(CeladonError, match=r"beat_schedule\['x'\]: .*no crontab"):
        rule_of("x", given)


def test_intervals_are_aligned_so_that_every_beat_computes_the_same_instants():
    assert due(600, "2026-05-01 10:03:17", times=2) == ["2026-05-01 10:10:00", "2026-05-01 10:20:00"]
    assert due(600, "2026-05-01 10:09:59") == due(600, "2026-05-01 10:00:00") == ["2026-05-01 10:10:00"]


def test_the_following_time_is_always_later():
    moment = at("2026-05-01 10:10:00")

    assert following({"every_s": 600.0}, moment) == moment + timedelta(minutes=10)
    assert following(rule_of("x", crontab(minute="10")), moment) == moment + timedelta(hours=1)


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        (crontab(minute="17"), "2026-05-01 10:17:01", "2026-05-01 11:17:00"),
        (
            crontab(minute="0", hour="0", day_of_month="29", month_of_year="2"),
            "2026-03-01 00:00:00",
            "2028-02-29 00:00:00",
        ),
        (crontab(minute="30", hour="6", day_of_week="mon"), "2026-11-22 12:00:00", "2026-11-23 06:30:00"),
        (crontab(minute="*/20"), "2026-12-31 23:59:59", "2027-01-01 00:00:00"),
        (crontab(), "2026-05-01 10:17:59.999", "2026-05-01 10:18:00"),
    ],
)
def test_a_crontab_is_due_at_its_next_minute(rule, after, expected):
    assert due(rule, after) == [expected]


@pytest.mark.parametrize(
    ("rule", "first", "now", "expected"),
    [
        (600, "2026-05-01 10:10:00", "2026-05-01 10:10:00", "2026-05-01 10:10:00"),
        (600, "2026-05-01 10:10:00", "2026-05-01 10:19:59", "2026-05-01 10:10:00"),
        (600, "2026-05-01 10:10:00", "2026-05-01 10:20:00", "2026-05-01 10:20:00"),
        (1, "2026-05-01 10:10:00", "2036-05-01 10:10:00.5", "2036-05-01 10:10:00"),
        (90, "2026-05-01 10:10:30", "2026-05-01 11:59:59", "2026-05-01 11:58:30"),
        (crontab(minute="17"), "2026-05-01 10:17:00", "2026-05-01 10:59:00", "2026-05-01 10:17:00"),
        (crontab(minute="17"), "2026-05-01 10:17:00", "2026-05-03 09:17:00", "2026-05-03 09:17:00"),
        (crontab(minute="0", hour="0", day_of_month="29", month_of_year="2"), "2024-02-29", "2031-01-01", "2028-02-29"),
    ],
    ids=repr,
)
def test_the_latest_due_time_is_the_last_that_has_come(rule, first, now, expected):
    assert latest(rule_of("x", rule), at(first), at(now)) == at(expected)


def test_the_latest_due_time_is_one_of_those_that_follow_each_other():
    for rule in (rule_of("x", 7.5), rule_of("x", crontab(minute="*/7"))):
        first = following(rule, at("2026-05-01 10:03:17"))
        moment = first
        for _ in range(20):
            after = following(rule, moment)
            assert latest(rule, first, after - timedelta(milliseconds=1)) == moment
            assert latest(rule, first, after) == after
            moment = after


def test_days_are_24_hours_in_utc_when_clocks_elsewhere_are_changed():
    # Given the nights of 2026 in which Europe's and America's clocks change.
    for night in ("2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31"):
        moments = [at(text) for text in due(crontab(minute="30", hour="2"), f"{night} 12:00:00", times=3)]

        assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(days=1)}
        assert {moment.hour for moment in moments} == {2}


def test_due_times_do_not_depend_on_the_zone_in_which_the_instant_is_told():
    rule = rule_of("x", crontab(minute="0", hour="9"))
    moment = at("2026-07-01 08:00:00")

    assert following(rule, moment) == following(rule, moment.astimezone()) == at("2026-07-01 09:00:00")
