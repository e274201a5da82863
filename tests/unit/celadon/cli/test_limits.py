"""Commands for limits: what they set, what they show of their use, and what they refuse."""

from __future__ import annotations

import pytest

from celadon import submit
from celadon.ledger import limits
from celadon.limits import Limit
from tests.contract.given import a_claim, a_job
from tests.unit.celadon.cli.given import celadon, refused

pytestmark = pytest.mark.usefixtures("ledger")


def listed() -> list[list[str]]:
    """The cells of the list, without its titles."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in rows()]


def rows() -> list[str]:
    return celadon("limits", "list").output.splitlines()[1:]


def test_a_limit_takes_the_place_of_those_there_are_and_an_added_one_stands_beside_them():
    assert celadon("limits", "set", "queue", "default", "--concurrency", "5").output == "queue default: 5 at a time\n"
    told = celadon("limits", "set", "queue", "default", "--starts", "10", "--per", "60", "--each", "tenant", "--add")
    assert told.output == "queue default: 5 at a time; 10 starts in 60 s for each tenant\n"
    assert celadon("limits", "set", "queue", "default", "--concurrency", "5", "--add").output == told.output
    assert limits.find("queue", "default").rules == (
        Limit(concurrency=5),
        Limit(starts=10, per_s=60.0, each="tenant"),
    )

    told = celadon("limits", "set", "queue", "default", "--concurrency", "1", "--starts", "2", "--per", "1.5")
    assert told.output == "queue default: 1 at a time and 2 starts in 1.5 s\n"


def test_the_list_shows_how_far_each_limit_is_used():
    running = a_claim(a_job("unit.inline", tenant="acme"))
    celadon("limits", "set", "job", "unit.inline", "--concurrency", "1")
    celadon("limits", "set", "job", "unit.inline", "--starts", "3", "--per", "60", "--each", "tenant", "--add")
    celadon("limits", "set", "job", "unit.inline", "--concurrency", "4", "--each", "worker", "--add")
    assert submit("unit.inline", {"word": "x"}, tenant="acme").outcome == "waiting"
    celadon("pause", "unit.inline", "--kind", "job")

    one_at_a_time, for_each_tenant, for_each_worker = listed()
    gate, use = ["job unit.inline"], ["1 (paused)", "set"]
    assert running.tenant == "acme"
    assert one_at_a_time == [*gate, "1 at a time", "all", "1", "0", "-", "0", *use]
    assert for_each_tenant[:5] == [*gate, "3 starts in 60 s for each tenant", "acme", "1", "0"]
    assert for_each_worker == [*gate, "4 at a time for each worker", "all workers", "1", "0", "-", "3", *use]


def test_a_limit_that_nobody_uses_and_none_at_all_are_told_too():
    assert celadon("limits", "list").output.startswith("No limits.")

    celadon("limits", "set", "queue", "default", "--starts", "3", "--per", "60", "--each", "tenant")
    assert listed() == [["queue default", "3 starts in 60 s for each tenant", "nobody", "-", "-", "-", "-", "0", "set"]]


def test_a_limit_that_was_taken_away_is_listed_until_it_is_put_back(monkeypatch: pytest.MonkeyPatch):
    limits.sync({("job", "unit.inline"): [Limit(concurrency=1)]}, 1)
    monkeypatch.setattr(limits, "declared", lambda: {("job", "unit.inline"): (Limit(concurrency=1),)})

    assert celadon("limits", "set", "job", "unit.inline", "--none").output == "job unit.inline: no limit\n"
    assert listed() == [["job unit.inline", "no limit", "-", "-", "-", "-", "-", "0", "set"]]

    assert celadon("limits", "reset", "job", "unit.inline").output == "job unit.inline: 1 at a time\n"
    assert listed()[0][:2] == ["job unit.inline", "1 at a time"]


def test_no_limit_of_a_queue_that_is_gone_can_be_taken_back():
    limits.set_limits("queue", "of last year", [], actor="test")

    assert celadon("limits", "reset", "queue", "of last year").output == "queue of last year: no limit\n"
    assert rows() == []


def test_a_name_that_would_break_the_list_is_written_out():
    celadon("limits", "set", "tenant", "a\nb\x1b[2J", "--concurrency", "1")

    assert listed()[0][0] == r"tenant a\nb\x1b[2J"


def test_reset_goes_back_to_what_the_configuration_says():
    celadon("limits", "set", "queue", "default", "--concurrency", "5")

    assert celadon("limits", "reset", "queue", "default").output == "queue default: no limit\n"
    assert rows() == []


def test_the_limits_of_a_queue_that_is_gone_can_still_be_taken_away():
    limits.set_limits("queue", "of last year", [Limit(concurrency=1)], actor="test")

    assert celadon("limits", "reset", "queue", "of last year").output == "queue of last year: no limit\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("queue", "nope", "--concurrency", "1"), "No lane works the queue 'nope'; there are: data_sync"),
        (("job", "unit.inlin", "--concurrency", "1"), "did you mean 'unit.inline'"),
        (("tenant", "x" * 201, "--concurrency", "1"), "1 to 200 characters"),
        (("worker", "x", "--concurrency", "1"), "'worker' is not one of 'queue', 'job', 'tenant'"),
        (("queue", "default"), "a limit says concurrency, or starts and per_s, or both"),
        (("queue", "default", "--concurrency", "0"), "concurrency=0: a whole number from 1 to"),
        (("queue", "default", "--starts", "5"), "starts and per_s belong together"),
        (("queue", "default", "--starts", "5", "--per", "0.1"), "per_s=0.1: from 1 s to 86400 s (a day)"),
        (("queue", "default", "--starts", "5", "--per", "5", "--each", "worker"), "limits concurrency only"),
        (("tenant", "acme", "--concurrency", "1", "--each", "tenant"), "leave `each` out"),
        (("queue", "default", "--none", "--concurrency", "1"), "--none takes every limit away; give it alone"),
        (("queue", "default", "--none", "--each", "all"), "give it alone"),
    ],
)
def test_a_limit_that_can_not_be_meant_is_told_in_one_sentence(words, told):
    assert told in refused("limits", "set", *words)
    assert [gate for gate in limits.every() if gate.rules] == []
