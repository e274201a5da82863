"""Due times are pure functions of a rule and an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab, schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from celadon import due
from celadon.due import following, jitter, last, latest, preview, rules, within
from celadon.errors import InvalidOption
from celadon.times import LAST

MS = timedelta(milliseconds=1)


def at(text: str) -> datetime:
    """In UTC, unless the text names an offset."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def dues(rule: due.Rule, after: str, times: int = 1) -> list[str]:
    """The next due times as UTC shows them."""
    return [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in preview(rule, at(after), times)]


def on_the_wall(text: str, timezone: str, after: str, times: int) -> list[str]:
    """A crontab's due times as its zone's clocks show them, with the offset from UTC."""
    moments = preview(rules.from_text(text, timezone), at(after), times)
    return [f"{moment.astimezone(ZoneInfo(timezone)):%d %H:%M%z}" for moment in moments]


# --- rules


@pytest.mark.parametrize("given", [90, 90.0, timedelta(seconds=90), schedule(run_every=90)], ids=repr)
def test_an_interval_is_told_in_any_of_celerys_ways(given):
    assert rules.of(given) == {"every_s": 90.0}


def test_an_interval_is_kept_to_the_millisecond_which_is_what_the_ledger_keeps():
    rule = rules.every(timedelta(seconds=10) / 3)

    assert rule == {"every_s": 3.333}
    assert all(moment.microsecond % 1000 == 0 for moment in preview(rule, at("2026-05-01"), 50))


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (crontab(minute="*/15", hour="8-10", day_of_week="mon-fri"), "*/15 8-10 * * mon-fri"),
        (crontab(minute={30, 0}, hour=[6, 18], day_of_month=1), "0,30 6,18 1 * *"),
        (crontab(minute="0", hour="0", month_of_year="jan,jul-sep"), "0 0 * jan,jul-sep *"),
    ],
    ids=str,
)
def test_a_crontab_survives_as_json(given, fields):
    rule = rules.of(given)

    assert rule == rules.from_text(fields)
    assert rules.in_words(rule) == f"{fields} UTC"


def test_a_zone_is_part_of_a_crontabs_rule_and_utc_is_what_is_meant_without_one():
    assert rules.from_text("0 6 * * *", "Europe/Berlin")["timezone"] == "Europe/Berlin"
    assert rules.from_text("0 6 * * *", "UTC") == rules.from_text("0 6 * * *")


def test_rules_are_told_in_words():
    assert rules.in_words(rules.from_text("30 2 * * mon-fri", "Europe/Berlin")) == "30 2 * * mon-fri Europe/Berlin"
    assert rules.in_words(rules.every(90)) == "every 90 s"
    assert rules.in_words(rules.every(1.5)) == "every 1.5 s"
    assert rules.in_words(rules.once(at("2026-12-01 09:00:00+01:00"))) == "once at 2026-12-01 08:00:00 UTC"


@pytest.mark.parametrize("given", [0, 0.5, -5, timedelta(0), "hourly", None, True, 1e12], ids=str)
def test_what_is_no_schedule_is_refused(given):
    with pytest.raises(InvalidOption, match="is no crontab"):
        rules.of(given)


def test_an_interval_that_hangs_on_the_last_run_is_refused_with_the_cure():
    with pytest.raises(InvalidOption, match="leave `relative` out"):
        rules.of(schedule(run_every=90, relative=True))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("* * * *", "has 4 fields; five are wanted"),
        ("@daily", "has 1 fields; five are wanted"),
        ("60 * * * *", r"minute='60'.*60 > 59.*it takes 0-59"),
        ("0 24 * * *", "hour='24'.*it takes 0-23"),
        ("0 0 0 * *", "day_of_month='0'.*it takes 1-31"),
        ("0 0 * * monkey", "'monkey' is no value of this field"),
        ("0 0 * decoy *", "'decoy' is no value of this field"),
        ("0 0 * 13 *", "month_of_year='13'.*it takes 1-12 or jan-dec"),
        ("0 0 * * 7", "day_of_week='7'.*Sunday being 0"),
        ("*/0 * * * *", r"minute='\*/0': '\*/0' can't be read"),
        ("1/5 * * * *", "minute='1/5': '1/5' can't be read"),
        ("*/2/3 * * * *", "can't be read"),
        ("1-2-3 * * * *", "can't be read"),
        ("1,,2 * * * *", "minute='1,,2': '' can't be read"),
        ("٣ * * * *", "can't be read"),
        ("0 0 * * jan", "'jan' is no value of this field"),
        ("mon * * * *", "'mon' is no value of this field"),
        ("0 0 L * *", "'L' is no value of this field"),
    ],
)
def test_a_bad_crontab_is_refused_with_the_field_and_what_it_takes(text, told):
    with pytest.raises(InvalidOption, match=told):
        rules.from_text(text)


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 mon"])
def test_a_crontab_that_never_comes_is_refused_in_words_and_at_once(text):
    began = perf_counter()

    with pytest.raises(InvalidOption, match="never comes: no month '.*' has a day '3"):
        rules.from_text(text)

    assert perf_counter() - began < 0.1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("europe/berlin", "did you mean 'Europe/Berlin'"),
        ("Mars/Olympus", "IANA name"),
        ("Europe", "not known"),
        ("../../etc/passwd", "not known"),
        ("", "not known"),
        (1, "not known"),
    ],
)
def test_a_zone_that_is_not_known_is_refused(name: Any, told):
    with pytest.raises(InvalidOption, match=told):
        rules.from_text("0 6 * * *", name)


@pytest.mark.parametrize(("moment", "told"), [(datetime(2026, 1, 1), "no time zone"), ("tomorrow", "is no time")])  # noqa: DTZ001
def test_a_time_that_says_nothing_is_refused(moment: Any, told):
    with pytest.raises(InvalidOption, match=told):
        rules.once(moment)


# --- due times


def test_intervals_are_aligned_so_that_every_beat_computes_the_same_instants():
    ten = rules.every(600)

    assert dues(ten, "2026-05-01 10:03:17", 2) == ["2026-05-01 10:10:00", "2026-05-01 10:20:00"]
    assert dues(ten, "2026-05-01 10:09:59") == dues(ten, "2026-05-01 10:00:00") == ["2026-05-01 10:10:00"]


def test_what_is_due_once_is_due_once():
    rule = rules.once(at("2026-05-01 10:00:00.1239"))
    moment = at("2026-05-01 10:00:00.123")

    assert preview(rule, moment - MS, 10) == [moment]
    assert preview(rule, moment, 10) == []
    assert (latest(rule, moment - MS), latest(rule, moment)) == (None, moment)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("17 * * * *", "2026-05-01 10:17:01", ["2026-05-01 11:17:00"]),
        ("* * * * *", "2026-05-01 10:17:59.999", ["2026-05-01 10:18:00"]),
        ("*/20 * * * *", "2026-12-31 23:59:59", ["2027-01-01 00:00:00"]),
        ("10-40/15 8 * * *", "2026-05-01", ["2026-05-01 08:10:00", "2026-05-01 08:25:00", "2026-05-01 08:40:00"]),
        ("0 */7 * * *", "2026-05-01 13:00:00", ["2026-05-01 14:00:00", "2026-05-01 21:00:00", "2026-05-02 00:00:00"]),
        ("50-5/10 0 * * *", "2026-05-01", ["2026-05-01 00:50:00", "2026-05-02 00:00:00"]),
        ("30 6 * * mon", "2026-11-22 12:00:00", ["2026-11-23 06:30:00"]),
        ("0 9 * * mon-fri", "2026-11-27 09:00:00", ["2026-11-30 09:00:00"]),
        ("0 9 * * fri-mon", "2026-11-26 12:00:00", [f"2026-11-{day} 09:00:00" for day in (27, 28, 29, 30)]),
        ("0 9 * * 0", "2026-11-27", ["2026-11-29 09:00:00"]),
        ("0 0 1 jan *", "2026-11-27", ["2027-01-01 00:00:00"]),
        ("0 0 31 * *", "2026-11-27", ["2026-12-31 00:00:00", "2027-01-31 00:00:00", "2027-03-31 00:00:00"]),
        ("0 0 29 2 *", "2026-03-01", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 29 2 *", "2096-03-01", ["2104-02-29 00:00:00"]),
        ("0 0 29 2 mon", "2072-03-01", ["2112-02-29 00:00:00"]),
    ],
)
def test_a_crontab_is_due_at_its_next_minute(text, after, expected):
    assert dues(rules.from_text(text), after, len(expected)) == expected


def test_a_day_has_to_fit_both_day_fields_as_with_celery():
    # Cron itself would take every Friday and every 13th.
    assert dues(rules.from_text("0 0 13 * fri"), "2026-01-01", 3) == [
        "2026-02-13 00:00:00",
        "2026-03-13 00:00:00",
        "2026-11-13 00:00:00",
    ]


@pytest.mark.parametrize(
    ("rule", "now", "expected"),
    [
        (rules.every(600), "2026-05-01 10:10:00", "2026-05-01 10:10:00"),
        (rules.every(600), "2026-05-01 10:19:59.999", "2026-05-01 10:10:00"),
        (rules.every(90), "2026-05-01 11:59:59", "2026-05-01 11:58:30"),
        (rules.from_text("17 * * * *"), "2026-05-01 10:16:59.999", "2026-05-01 09:17:00"),
        (rules.from_text("17 * * * *"), "2026-05-01 10:17:00", "2026-05-01 10:17:00"),
        (rules.from_text("0 0 29 2 *"), "2031-01-01", "2028-02-29"),
        (rules.from_text("0 0 29 2 mon"), "2112-02-28", "2072-02-29"),
    ],
    ids=str,
)
def test_the_latest_due_time_is_the_last_that_has_come(rule, now, expected):
    assert latest(rule, at(now)) == at(expected)


def test_of_many_that_have_come_the_latest_are_told_in_order():
    hourly = rules.from_text("0 * * * *")

    assert last(hourly, at("2026-05-01 03:00:00"), at("2026-05-01 05:59:00"), 10) == [
        at(f"2026-05-01 0{hour}:00:00") for hour in (3, 4, 5)
    ]
    assert last(hourly, at("2020-01-01"), at("2026-05-01 05:59:00"), 2) == [
        at("2026-05-01 04:00:00"),
        at("2026-05-01 05:00:00"),
    ]
    assert last(rules.once(at("2026-05-01")), at("2026-05-02"), at("2026-05-03"), 10) == []


def test_a_beginning_and_an_end_are_times_at_which_it_may_still_be_due():
    ten = rules.every(600)
    begin, end = at("2026-05-01 10:00:00"), at("2026-05-01 10:10:00")

    assert within(ten, at("2026-01-01"), begin, end) == begin
    assert within(ten, begin, begin, end) == end
    assert within(ten, end, begin, end) is None


# --- when clocks are changed

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


@pytest.mark.parametrize(
    ("timezone", "after", "times"),
    [
        (BERLIN, "2026-03-28", ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]),
        (BERLIN, "2027-03-27", ["27 02:30+0100", "28 03:00+0200", "29 02:30+0200"]),
        (NEW_YORK, "2026-03-07", ["07 02:30-0500", "08 03:00-0400", "09 02:30-0400"]),
        (NEW_YORK, "2027-03-13", ["13 02:30-0500", "14 03:00-0400", "15 02:30-0400"]),
    ],
)
def test_a_time_that_a_change_leaves_out_is_due_as_soon_as_the_clock_has_jumped(timezone, after, times):
    assert on_the_wall("30 2 * * *", timezone, after, 3) == times


@pytest.mark.parametrize(
    ("text", "timezone", "after", "times"),
    [
        ("30 2 * * *", BERLIN, "2026-10-24 12:00", ["25 02:30+0200", "26 02:30+0100"]),
        ("30 2 * * *", BERLIN, "2027-10-30 12:00", ["31 02:30+0200", "01 02:30+0100"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["01 01:30-0400", "02 01:30-0500"]),
        ("30 1 * * *", NEW_YORK, "2027-11-06 12:00", ["07 01:30-0400", "08 01:30-0500"]),
        # Several of one hour: that hour comes twice, they do not.
        (
            "*/30 1-3 * * *",
            BERLIN,
            "2026-10-24 23:00",
            ["25 01:30+0200", "25 02:00+0200", "25 02:30+0200", "25 03:00+0100"],
        ),
    ],
)
def test_a_time_that_comes_twice_is_due_the_first_time(text, timezone, after, times):
    assert on_the_wall(text, timezone, after, len(times)) == times


def test_times_that_fall_together_after_a_jump_are_one():
    times = on_the_wall("0,20,40 2,3 * * *", BERLIN, "2026-03-29 00:00", 4)

    assert times == ["29 03:00+0200", "29 03:20+0200", "29 03:40+0200", "30 02:00+0200"]


def test_a_crontab_for_every_hour_goes_by_the_time_that_passes():
    # 02:17 is left out in March, and nothing is made up for; in October it comes twice, and is due twice.
    spring = on_the_wall("17 * * * *", BERLIN, "2026-03-29 00:00", 3)
    autumn = on_the_wall("17 * * * *", BERLIN, "2026-10-24 23:30", 4)

    assert spring == ["29 01:17+0100", "29 03:17+0200", "29 04:17+0200"]
    assert autumn == ["25 02:17+0200", "25 02:17+0100", "25 03:17+0100", "25 04:17+0100"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2027-03-28", "2027-10-31"])
def test_a_crontab_for_every_quarter_of_an_hour_never_pauses_longer(day):
    moments = preview(rules.from_text("*/15 * * * *", BERLIN), at(day) - timedelta(hours=6), 96)

    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(minutes=15)}


def test_a_change_of_half_an_hour():
    lord_howe = "Australia/Lord_Howe"  # From 02:00 to 02:30 on 4 October 2026, back on 5 April 2027… by half an hour.

    assert on_the_wall("15 2 * * *", lord_howe, "2026-10-03 00:00", 2) == ["04 02:30+1100", "05 02:15+1100"]
    assert on_the_wall("45 1 * * *", lord_howe, "2026-04-04 00:00", 2) == ["05 01:45+1100", "06 01:45+1030"]
    assert on_the_wall("*/15 * * * *", lord_howe, "2026-04-04 14:30", 5) == [
        "05 01:45+1100",
        "05 01:30+1030",
        "05 01:45+1030",
        "05 02:00+1030",
        "05 02:15+1030",
    ]


def test_a_day_that_a_zone_has_skipped():
    # Samoa went from 29 to 31 December 2011.
    apia = "Pacific/Apia"

    assert on_the_wall("0 9 * * *", apia, "2011-12-29", 4) == [
        "29 09:00-1000",
        "31 00:00+1400",
        "31 09:00+1400",
        "01 09:00+1400",
    ]
    assert on_the_wall("0 9 30 * *", apia, "2011-12-01", 2) == ["31 00:00+1400", "30 09:00+1400"]
    assert on_the_wall("30 * * * *", apia, "2011-12-30 09:00", 2) == ["29 23:30-1000", "31 00:30+1400"]


def test_clocks_that_go_back_over_midnight():
    # St John's set its clocks from 00:01 to 23:01 of the day before.
    times = on_the_wall("0,30 * * * *", "America/St_Johns", "2010-11-07 02:15", 5)

    assert times == ["07 00:00-0230", "06 23:30-0330", "07 00:00-0330", "07 00:30-0330", "07 01:00-0330"]


def test_a_midnight_that_does_not_exist():
    assert on_the_wall("0 0 * * *", "Africa/Cairo", "2026-04-23 12:00", 2) == ["24 01:00+0300", "25 00:00+0300"]


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/Phoenix", "Etc/GMT+12"])
def test_where_clocks_are_never_changed_days_have_24_hours(timezone):
    moments = preview(rules.from_text("30 2 * * *", timezone), at("2026-01-01"), 730)

    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(days=1)}


def test_due_times_do_not_depend_on_the_zone_in_which_the_instant_is_told():
    rule = rules.from_text("0 9 * * *")
    moment = at("2026-07-01 08:00:00")

    assert following(rule, moment) == following(rule, moment.astimezone(ZoneInfo(NEW_YORK)))
    assert following(rule, moment) == at("2026-07-01 09:00:00")


@pytest.mark.parametrize("every_s", [1.0, 7 * 86400.0, 10 * 365 * 86400.0])
def test_an_interval_that_would_go_beyond_all_time_comes_no_more(every_s):
    last = latest({"every_s": every_s}, LAST)
    assert last is not None
    assert preview({"every_s": every_s}, last - timedelta(seconds=every_s / 2), 10) == [last]


@pytest.mark.parametrize("text", ["0 0 * * Monday,thurs", "0 0 * SEPT,june *"])
def test_names_may_be_whole_or_shortened(text):
    assert rules.from_text(text)["crontab"]


def test_at_the_end_of_time_nothing_is_due_any_more():
    for text in ("0 0 29 2 *", "* * * * *"):
        rule = rules.from_text(text, BERLIN)

        assert following(rule, at("9999-12-30 12:00:00")) is None
        assert latest(rule, at("9999-12-30 12:00:00")) is not None


# --- what holds for all of them

ZONES = ["UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Africa/Casablanca"]


def lists(low: int, high: int) -> st.SearchStrategy[str]:
    return st.lists(st.integers(low, high), min_size=1, max_size=4).map(lambda some: ",".join(map(str, some)))


FIELD = {
    "minute": st.one_of(st.just("*"), st.sampled_from(["*/7", "*/30", "5-50/9"]), lists(0, 59)),
    "hour": st.one_of(st.just("*"), st.sampled_from(["*/6", "0-3"]), lists(0, 23)),
    "day_of_month": st.one_of(st.just("*"), lists(1, 28)),
    "month_of_year": st.one_of(st.just("*"), lists(1, 12)),
    "day_of_week": st.one_of(st.just("*"), st.sampled_from(["mon-fri", "sun"])),
}
CRONTABS = st.builds(
    lambda timezone, fields: rules.from_fields(fields, timezone),
    st.sampled_from(ZONES),
    st.fixed_dictionaries(FIELD),
)
RULES = st.one_of(
    CRONTABS,
    st.floats(1, 1e6).map(rules.every),
    st.datetimes(datetime(2009, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(rules.once),  # noqa: DTZ001
)
# A third of the instants are near a change of some zone's clocks.
CHANGES = [at(text) for text in ("2026-03-29 01:00", "2026-10-25 01:00", "2026-11-01 06:00", "2011-12-30 10:00")]
INSTANTS = st.one_of(
    st.datetimes(datetime(2009, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(
        lambda change, seconds: change + timedelta(seconds=seconds),
        st.sampled_from(CHANGES),
        st.floats(-100_000, 100_000),
    ),
)


@settings(max_examples=150, deadline=None)
@given(RULES, INSTANTS)
def test_due_times_strictly_increase_and_each_is_the_first_after_the_one_before(rule, moment):
    moments = preview(rule, moment, 5)

    assert all(earlier < later for earlier, later in pairwise([moment, *moments]))
    walked = moment
    for expected in moments:
        found = following(rule, walked)
        assert found == expected
        assert latest(rule, found) == found
        assert latest(rule, found - MS) == (walked if walked != moment else latest(rule, moment))
        walked = found


@settings(max_examples=150, deadline=None)
@given(RULES, INSTANTS, st.floats(0, 1))
def test_of_anything_before_a_due_time_what_follows_is_not_after_it(rule, moment, share):
    found = following(rule, moment)
    if found is not None:
        between = moment + share * (found - moment)

        assert following(rule, min(between, found - MS)) == found
        assert latest(rule, max(moment, found - MS)) == latest(rule, moment)


@settings(max_examples=150, deadline=None)
@given(RULES, INSTANTS)
def test_the_latest_due_time_is_not_after_now_and_nothing_is_due_between(rule, now):
    found = latest(rule, now)
    after = following(rule, now)

    assert found is None or found <= now
    if found is not None:
        assert following(rule, found) == after
        assert last(rule, found, now, 3) == [found]


@settings(max_examples=100, deadline=None)
@given(CRONTABS, INSTANTS)
def test_a_due_time_is_shown_by_the_wall_clock_or_is_the_moment_of_a_change(rule, moment):
    zone = ZoneInfo(rule.get("timezone", "UTC"))
    for found in preview(rule, moment, 3):
        shown, before = found.astimezone(zone), (found - timedelta(seconds=1)).astimezone(zone)
        told = crontab(**rule["crontab"])
        fits = shown.minute in told.minute and shown.hour in told.hour and shown.day in told.day_of_month

        assert (fits and shown.second == 0) or shown.utcoffset() != before.utcoffset()


# --- jitter


@given(st.text(max_size=20), INSTANTS, st.floats(0.001, 1e6))
def test_jitter_is_below_its_bound_and_the_same_for_everyone_who_asks(name, moment, bound_s):
    found = jitter(name, moment, bound_s)

    assert timedelta(0) <= found < timedelta(seconds=bound_s)
    assert found == jitter(name, moment.astimezone(ZoneInfo(NEW_YORK)), bound_s)
    assert found % MS == timedelta(0)


def test_jitter_is_spread_evenly_over_due_times_and_over_schedules():
    moments = preview(rules.every(3600), at("2026-01-01"), 400)
    over_times = [jitter("report", moment, 10) / timedelta(seconds=10) for moment in moments]
    over_names = [jitter(f"report-{number}", moments[0], 10) / timedelta(seconds=10) for number in range(400)]

    for shares in (over_times, over_names):
        tenths = [sum(1 for share in shares if share // 0.1 == tenth) for tenth in range(10)]
        assert min(tenths) > 15


def test_without_jitter_a_job_runs_when_it_is_due():
    assert jitter("report", at("2026-01-01"), 0) == timedelta(0)
