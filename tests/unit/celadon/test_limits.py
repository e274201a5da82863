"""What a limit says, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from celadon import limits, queues
from celadon.errors import InvalidLimit, UnknownJob, UnknownQueue
from celadon.limits import MOST_RULES, Limit, gate_of, parse, parsed, together


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"concurrency": 5}, "5 at a time"),
        ({"concurrency": 5, "each": "worker"}, "5 at a time for each worker"),
        ({"starts": 10, "per_s": 2.5}, "10 starts in 2.5 s"),
        (
            {"concurrency": 1, "starts": 10, "per_s": 10, "each": "tenant"},
            "1 at a time and 10 starts in 10 s for each tenant",
        ),
    ],
)
def test_a_limit_is_the_same_as_a_mapping_and_says_itself_in_words(facts: dict[str, Any], words: str):
    assert parse(facts).as_dict() == facts
    assert str(parse(facts)) == words


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "says concurrency, or starts and per_s"),
        ({"concurrency": 0}, "concurrency=0: a whole number from 1 to 100000; to hold all jobs, pause them"),
        ({"concurrency": True}, "concurrency=True"),
        ({"concurrency": 1.5}, "concurrency=1.5"),
        ({"starts": 10}, "belong together"),
        ({"per_s": 10}, "belong together"),
        ({"starts": 10, "per_s": 0.5}, "per_s=0.5: from 1 s to 86400 s"),
        ({"starts": 10, "per_s": "10"}, "per_s='10'"),
        ({"starts": 10, "per_s": float("nan")}, "per_s=nan"),
        ({"concurrency": 1, "each": "queue"}, "each='queue': one of all, tenant, worker"),
        ({"starts": 1, "per_s": 1, "each": "worker"}, "limits concurrency only"),
        ({"concurency": 1}, "did you mean 'concurrency'"),
        ({"burst": 1}, "known are concurrency, starts, per_s, each"),
        ("10/s", "is no limit; write a mapping"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_what_may_be(facts: Any, words: str):
    with pytest.raises(InvalidLimit) as refused:
        parse(facts)

    assert words in str(refused.value)


def test_the_limits_of_a_gate_are_a_list():
    assert parsed([{"concurrency": 1}, {"concurrency": 2}]) == (Limit(concurrency=1), Limit(concurrency=2))
    for wrong in ({"concurrency": 1}, "concurrency", 5, None):
        with pytest.raises(InvalidLimit, match="a list of mappings"):
            parsed(wrong)


def test_a_window_is_looked_at_with_a_margin_that_grows_with_it_within_bounds():
    margins = {per_s: Limit(starts=1, per_s=per_s).margin_s for per_s in (1, 10, 60, 3600)}

    assert margins == {1: 0.25, 10: 0.5, 60: 2.0, 3600: 2.0}
    assert Limit(starts=1, per_s=10).window_s == 10.5
    assert Limit(concurrency=1).window_s == 0


def test_each_limit_of_a_gate_stands_once_and_there_are_not_too_many():
    one, two = Limit(starts=10, per_s=10), Limit(concurrency=1)
    assert together("queue", [one, two, Limit(starts=10, per_s=10.0)]) == (one, two)

    many = [Limit(concurrency=n + 1) for n in range(MOST_RULES + 1)]
    assert together("job", many[:-1]) == tuple(many[:-1])
    with pytest.raises(InvalidLimit, match="21 limits: at most 20 stand at one job"):
        together("job", many)


def test_a_limit_for_each_tenant_does_not_stand_at_one_tenant():
    with pytest.raises(InvalidLimit, match="leave `each` out"):
        together("tenant", [Limit(concurrency=1, each="tenant")])


def test_a_gate_is_named_by_its_kind_and_its_name():
    assert gate_of("job orders.process") == ("job", "orders.process")
    assert gate_of("tenant A & Co") == ("tenant", "A & Co")
    for wrong in ("orders.process", "name x", "job ", "queue", f"queue {'x' * 201}"):
        with pytest.raises(InvalidLimit, match="write `queue NAME`"):
            gate_of(wrong)


def declare(monkeypatch: pytest.MonkeyPatch, **entries: Any) -> None:
    monkeypatch.setattr(queues.operators_file(), "limits", {**entries.pop("also", {}), **entries}, raising=False)


def test_what_the_operators_file_declares_is_read_by_gate(monkeypatch: pytest.MonkeyPatch):
    declare(monkeypatch, also={"queue default": [{"concurrency": 9}], "tenant acme": [], "job unit.inline": []})

    assert limits.declared() == {
        ("queue", "default"): (Limit(concurrency=9),),
        ("tenant", "acme"): (),
        ("job", "unit.inline"): (),
    }


@pytest.mark.parametrize(
    ("gate", "error", "words"),
    [
        ("queue nowhere", UnknownQueue, "No lane works the queue 'nowhere'"),
        ("job unit.inlin", UnknownJob, "did you mean 'unit.inline'"),
        ("default", InvalidLimit, "celeryconfig.limits['default']: 'default': write `queue NAME`"),
    ],
)
def test_a_misspelt_gate_is_refused_for_it_would_hold_nobody(
    gate: str, error: Any, words: str, monkeypatch: pytest.MonkeyPatch
):
    declare(monkeypatch, also={gate: [{"concurrency": 1}]})

    with pytest.raises(error) as refused:
        limits.declared()

    assert words in str(refused.value)
