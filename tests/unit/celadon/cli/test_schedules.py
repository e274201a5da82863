"""Commands for schedules: what they make and change, what they show, and what they refuse."""

from __future__ import annotations

import json
from typing import get_args

import click
import pytest

from celadon import find, plans, schedules
from celadon.cli import schedules as commands
from tests.unit.celadon.cli.given import celadon, refused

pytestmark = pytest.mark.usefixtures("ledger")


def added(name: str = "nightly", *words: str) -> str:
    """What `add` says of a schedule at two every night, in Berlin."""
    rule = words or ("--crontab", "0 2 * * *", "--timezone", "Europe/Berlin")
    result = celadon("schedules", "add", name, "unit.deferred", *rule)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_schedule_is_added_with_all_that_can_be_said_of_it():
    policies = ("--missed", "all", "--missed-max", "3", "--overlap", "queue", "--jitter", "30", "--queue", "default")
    ends = ("--start", "2031-01-01T00:00:00Z", "--end", "2032-01-01T00:00:00Z", "--payload", '{"word": "moon"}')

    told = added("nightly", "--crontab", "0 2 * * *", "--timezone", "Europe/Berlin", *policies, *ends)

    assert told == "nightly: 0 2 * * * Europe/Berlin, next due 2031-01-01 01:00:00 UTC\n"
    view = schedules.find("nightly")
    assert (view.missed, view.missed_max, view.overlap, view.jitter_s, view.queue) == ("all", 3, "queue", 30, "default")
    assert (view.payload, view.source) == ({"word": "moon"}, "api")
    shown = json.loads(celadon("schedules", "show", "nightly").output)
    assert {
        "name": "nightly",
        "payload": {"word": "moon"},
        "ends_at": "2032-01-01T00:00:00.000Z",
    }.items() <= shown.items()


def test_the_list_has_a_line_for_each():
    assert celadon("schedules", "list").output.startswith("No schedules.")
    added("nightly")
    added("once", "--at", "2031-01-31T08:00:00+01:00")
    celadon("schedules", "pause", "nightly", "--reason", "holidays")

    titles, nightly, once = celadon("schedules", "list").output.splitlines()

    assert titles.split() == ["NAME", "JOB", "DUE", "NEXT", "FROM", "LAST", "JOB", "STATE"]
    assert nightly.split("  ")[0] == "nightly"
    assert "0 2 * * * Europe/Berlin" in nightly
    assert nightly.endswith("paused: holidays")
    assert once.split("  ")[0] == "once"
    assert "  2031-01-31 07:00:00 UTC  added  -  " in once
    assert once.endswith("active")


def test_what_is_given_is_changed_and_all_else_stays():
    added("nightly", "--crontab", "0 2 * * *", "--queue", "default", "--end", "2032-01-01T00:00:00Z", "--jitter", "5")

    told = celadon("schedules", "edit", "nightly", "--every", "300", "--without", "queue", "--without", "end").output

    assert told.startswith("nightly: every 300 s, next due 20")
    view = schedules.find("nightly")
    assert (view.queue, view.ends_at, view.jitter_s) == (None, None, 5)


def test_a_change_that_can_not_be_meant_is_told():
    added("nightly")

    for words, told in (
        ((), "nothing is to be changed"),
        (("--queue", "default", "--without", "queue"), "queue: either given or taken back, not both"),
        (("--end", "2031-01-01T00:00:00Z", "--without", "end"), "end: either given or taken back"),
    ):
        assert told in refused("schedules", "edit", "nightly", *words)
    assert schedules.find("nightly").queue is None


def test_a_schedule_is_paused_resumed_run_now_and_removed():
    added("nightly")

    assert celadon("schedules", "pause", "nightly").output == "nightly: 0 2 * * * Europe/Berlin, paused\n"
    assert celadon("schedules", "resume", "nightly").output.startswith("nightly: 0 2 * * * Europe/Berlin, next due 20")
    job_id = celadon("schedules", "run-now", "nightly").output.strip()
    job = find(job_id)
    assert job is not None
    assert job.name == "unit.deferred"
    assert f"  {job_id}  active" in celadon("schedules", "list").output
    assert celadon("schedules", "remove", "nightly").output == "nightly: removed\n"
    assert schedules.every() == []


def test_a_rule_is_previewed_by_its_own_clock_and_in_utc_without_being_stored():
    rule = ("--crontab", "30 2 * * sun", "--timezone", "Europe/Berlin")

    told = celadon("schedules", "preview", *rule, "--after", "2027-03-20T00:00:00Z", "--count", "2").output

    assert told.splitlines() == [
        "Sun 2027-03-21 02:30:00 +01:00   2027-03-21 01:30:00 UTC",
        "Sun 2027-03-28 03:00:00 +02:00   2027-03-28 01:00:00 UTC",  # The clocks skip half past two.
    ]
    assert len(celadon("schedules", "preview", "--every", "60").output.splitlines()) == 10
    assert celadon("schedules", "preview", "--at", "2020-01-01T00:00:00Z").output == "No due time is left.\n"
    assert schedules.every() == []


def test_a_preview_ends_where_the_calendar_does():
    every_ten_years = celadon("schedules", "preview", "--every", "315360000", "--count", "1000")
    assert every_ten_years.exit_code == 0
    assert 700 < len(every_ten_years.output.splitlines()) < 1000

    on_its_last_day = ("--every", "60", "--after", "9999-12-31T23:59:30Z")
    assert celadon("schedules", "preview", *on_its_last_day).output == "No due time is left.\n"

    added("rare", "--every", "315360000")
    assert len(schedules.preview("rare", 1000)) == len(every_ten_years.output.splitlines())


def test_a_schedule_is_previewed_by_its_name():
    added("nightly", "--at", "2031-01-31T08:00:00+01:00")

    assert celadon("schedules", "preview", "nightly").output == (
        "Fri 2031-01-31 07:00:00 +00:00   2031-01-31 07:00:00 UTC\n"
    )
    assert "not both" in refused("schedules", "preview", "nightly", "--every", "60")
    assert "--after is for a rule" in refused("schedules", "preview", "nightly", "--after", "2027-03-20T00:00:00Z")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Error: nothing was given; give one of crontab, every and at"),
        (("--every", "60", "--at", "2031-01-01T00:00:00Z"), "every and at was given"),
        (("--crontab", "61 2 * * *"), "it takes 0-59"),
        (("--crontab", "0 2 * *"), "has 4 fields; five are wanted"),
        (("--crontab", "0 2 31 2 *"), "never comes"),
        (("--crontab", "0 2 * * *", "--timezone", "Europe/Berln"), "did you mean 'Europe/Berlin'?"),
        (("--every", "0.5"), "from 1 s to ten years"),
        (("--every", "60", "--timezone", "Europe/Berlin"), "is for a crontab"),
        (("--at", "2020-01-01T00:00:00Z"), "no due time is left"),
        (("--at", "2031-01-01T00:00:00"), "has no zone"),
        (("--every", "60", "--queue", "nope"), "No lane works the queue 'nope'"),
        (("--every", "60", "--missed", "all", "--overlap", "skip"), "missed='all'"),
        (("--every", "60", "--payload", "{x}"), "is no JSON"),
        (("--every", "60", "--payload", "[1]"), "is no JSON object; write it as"),
        (("--every", "60", "--payload", '{"wort": "x"}'), "wort: Extra inputs are not permitted"),
    ],
)
def test_a_schedule_that_can_not_be_kept_is_told_in_one_sentence(words, told):
    assert told in refused("schedules", "add", "nightly", "unit.deferred", *words)
    assert schedules.every() == []


def test_a_misspelt_job_and_a_name_that_is_taken_are_told():
    assert "did you mean 'unit.deferred'?" in refused("schedules", "add", "x", "unit.defered", "--every", "60")
    added("nightly")
    assert "There is a schedule 'nightly' already" in refused(
        "schedules", "add", "nightly", "unit.deferred", "--every", "9"
    )


def test_a_reason_that_can_not_be_kept_is_told():
    added("nightly")

    assert "1 to 200 characters" in refused("schedules", "pause", "nightly", "--reason", "x" * 201)
    assert schedules.find("nightly").status == "active"


def test_a_reason_stays_on_its_line():
    added("nightly")
    celadon("schedules", "pause", "nightly", "--reason", "first\nsecond")

    assert len(celadon("schedules", "list").output.splitlines()) == 2


def test_options_offer_what_schedules_take():
    """They are written out, so that `celadon --help` need not load the ledger."""
    options = {one.name: one.type for one in (*commands.add.params, *commands.preview.params)}

    for option, literal, allowed in (
        (options["missed"], schedules.Missed, plans.MISSED),
        (options["overlap"], schedules.Overlap, plans.OVERLAP),
    ):
        assert isinstance(option, click.Choice)
        assert tuple(option.choices) == get_args(literal) == allowed
    assert isinstance(options["count"], click.IntRange)
    assert options["count"].max == schedules.MOST_PREVIEWED


@pytest.mark.parametrize(
    "words", [("edit", "--jitter", "1"), ("pause",), ("resume",), ("run-now",), ("remove",), ("show",), ("preview",)]
)
def test_an_unknown_schedule_is_told_in_one_sentence(words):
    assert refused("schedules", *words, "nobody") == (
        "Error: There is no schedule 'nobody'; `celadon schedules list` shows them"
    )
