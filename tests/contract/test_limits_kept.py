"""Limits as rows: set, reset, configured, and told with their present use."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from celadon.ledger import limits
from celadon.ledger.db import reading
from celadon.ledger.tables import audit
from celadon.limits import Limit
from tests.contract.given import NAME, a_claim, a_job
from tests.contract.limiting import begun, let_go, limit, some

pytestmark = pytest.mark.usefixtures("ledger")

TEN, FIVE = Limit(starts=10, per_s=10), Limit(concurrency=5)


def rules() -> dict[str, tuple[Limit, ...]]:
    return {f"{gate.kind} {gate.name}": gate.rules for gate in limits.every()}


def noted() -> list[tuple[str, str, str]]:
    with reading() as connection:
        return [(row.actor, row.action, row.subject) for row in connection.execute(select(audit).order_by(audit.c.id))]


def test_what_was_set_is_told_with_who_set_it():
    limits.set_limits("queue", "default", [TEN, FIVE], actor="ada")

    (gate,) = limits.every()

    assert (gate.kind, gate.name, gate.rules, gate.source) == ("queue", "default", (TEN, FIVE), "api")
    assert (gate.paused, gate.until, gate.reason, gate.use_broker) == (False, None, None, True)
    assert noted() == [("ada", "limit", "queue default")]


def test_the_present_use_of_each_rule_is_told():
    limit("job", NAME, Limit(each="tenant", concurrency=1), starts=3, per_s=60)
    some(2, tenant="a")
    some(2)
    begun(1)
    let_go(most=1)

    (gate,) = limits.every()

    assert gate.waiting == 2
    window, *each = gate.uses
    assert (window.key, window.starts, window.running, window.reserved, window.room) == (None, 1, 1, 1, 1)
    assert sorted((use.key or "", use.running + use.reserved, use.room) for use in each) == [("", 1, 0), ("a", 1, 0)]


def test_one_gate_is_told_whether_or_not_anything_stands_there():
    a_job()

    gate = limits.find("job", NAME)

    assert (gate.rules, gate.source, gate.uses, gate.paused, gate.use_broker) == ((), None, (), False, True)
    limit(concurrency=1)
    assert limits.find("job", NAME).uses[0].room == 1


def test_what_is_configured_holds_and_what_is_no_longer_configured_does_not():
    assert limits.sync({("job", "a"): [TEN], ("queue", "q"): [FIVE]}, 1) == []
    assert rules() == {"job a": (TEN,), "queue q": (FIVE,)}
    assert {gate.source for gate in limits.every()} == {"config"}

    assert limits.sync({("job", "a"): [FIVE]}, 2) == []
    assert rules() == {"job a": (FIVE,)}


def test_an_older_configuration_changes_nothing_of_a_newer_one():
    limits.sync({("job", "a"): [TEN]}, 2)
    limits.sync({}, 3)

    assert limits.sync({("job", "a"): [FIVE], ("job", "b"): [FIVE]}, 2) == ["job a"]
    assert rules() == {"job b": (FIVE,)}


def test_what_was_set_at_run_time_stands_whatever_is_configured_until_it_is_reset(monkeypatch: pytest.MonkeyPatch):
    limits.sync({("job", "a"): [TEN]}, 1)
    limits.set_limits("job", "a", [], actor="ada")
    limits.set_limits("job", "b", [FIVE], actor="ada")

    limits.sync({("job", "a"): [FIVE], ("job", "b"): [TEN]}, 2)

    assert rules() == {"job a": (), "job b": (FIVE,)}  # That somebody took the limit away is told too.
    monkeypatch.setattr(limits, "declared", lambda: {("job", "a"): (TEN,)})
    assert limits.reset("job", "a", actor="ada") == (TEN,)
    assert limits.reset("job", "b", actor="ada") == ()
    assert rules() == {"job a": (TEN,)}
    assert noted()[-1] == ("ada", "reset limit", "job b")


def test_a_sync_that_changes_nothing_takes_back_no_place():
    limits.sync({("job", NAME): [FIVE]}, 1)
    a_job()
    (kept,) = let_go()

    limits.sync({("job", NAME): [FIVE]}, 1)

    assert a_claim(kept).frees


def test_a_pause_does_not_change_a_limit_nor_a_limit_a_pause():
    from celadon.ledger import switches

    switches.pause("job", NAME, reason="maintenance", actor="ada")
    limit(concurrency=1)
    switches.turn("job", NAME, use_broker=False)

    gate = limits.find("job", NAME)

    assert (gate.paused, gate.reason, gate.use_broker, gate.rules) == (
        True,
        "maintenance",
        False,
        (Limit(concurrency=1),),
    )
    switches.resume("job", NAME, actor="ada")
    assert limits.find("job", NAME).rules == (Limit(concurrency=1),)
