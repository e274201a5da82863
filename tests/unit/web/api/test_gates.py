"""Limits and pauses over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from celadon import find, submit
from celadon.ledger import apikeys, switches
from celadon.ledger.db import reading
from celadon.ledger.tables import audit
from celadon.limits import Limit
from tests.unit.web.api.given import JOB, fields, later
from tests.unit.web.conftest import Client

NAMES = ["acme", "a b", "a/b", "/", "//x/", "preview", "ü?#%&+", "bulk"]


def listed(program: Client, which: str) -> list[tuple[str, str]]:
    answer = program.get(f"/api/{which}")
    assert answer.status_code == 200, answer.text
    return [(gate["kind"], gate["name"]) for gate in answer.json[which]]


def put(program: Client, what: str, kind: str, name: str, **body: Any) -> Any:
    return program.put(f"/api/{what}/{kind}/{quote(name, safe='')}", json=body)


def delete(program: Client, what: str, kind: str, name: str) -> Any:
    return program.delete(f"/api/{what}/{kind}/{quote(name, safe='')}")


# --- limits


def test_a_limit_is_set_told_with_its_use_and_put_back(program: Client) -> None:
    rules = [{"starts": 10, "per_s": 60}, {"concurrency": 2, "each": "tenant"}]

    made = put(program, "limits", "queue", "data_sync", rules=rules)

    assert made.status_code == 200, made.text
    empty = {"concurrency": None, "starts": None, "per_s": None, "each": "all"}
    assert made.json["rules"] == [{**empty, "starts": 10, "per_s": 60.0}, {**empty, "concurrency": 2, "each": "tenant"}]
    assert (made.json["source"], made.json["paused"], made.json["waiting"]) == ("api", False, 0)
    [use] = [use for use in made.json["uses"] if use["rule"]["starts"]]
    assert (use["running"], use["reserved"], use["starts"], use["room"]) == (0, 0, 0, 10)
    assert ("queue", "data_sync") in listed(program, "limits")

    back = delete(program, "limits", "queue", "data_sync")
    assert (back.status_code, back.json["rules"]) == (200, [])
    assert ("queue", "data_sync") not in listed(program, "limits")


def test_what_is_told_of_a_limit_can_be_set_as_it_is(program: Client) -> None:
    first = put(program, "limits", "tenant", "acme", rules=[{"concurrency": 3, "starts": 5, "per_s": 2.5}]).json

    again = put(program, "limits", "tenant", "acme", rules=first["rules"])

    assert (again.status_code, again.json["rules"]) == (200, first["rules"])


def test_a_limit_that_was_taken_away_is_told_until_it_is_put_back(program: Client) -> None:
    put(program, "limits", "job", JOB, rules=[])

    [gate] = program.get("/api/limits").json["limits"]
    assert (gate["name"], gate["rules"], gate["source"]) == (JOB, [], "api")

    back = delete(program, "limits", "job", JOB).json
    assert back["rules"]  # Of celeryconfig.
    assert back["source"] == "config"


def test_a_limit_that_is_given_twice_stands_once(program: Client) -> None:
    made = put(program, "limits", "queue", "default", rules=[{"concurrency": 1}, {"concurrency": 1, "each": "all"}])

    assert len(made.json["rules"]) == len(made.json["uses"]) == 1


def test_a_limit_for_each_tenant_does_not_stand_at_one_tenant(program: Client) -> None:
    answer = put(program, "limits", "tenant", "acme", rules=[{"concurrency": 1, "each": "tenant"}])

    assert (answer.status_code, fields(answer)) == (422, ["rules"])
    assert "leave `each` out" in answer.json["detail"]


REFUSED: list[tuple[Any, str, str]] = [
    ([{"concurrency": 0}], "rules.0.concurrency", "greater than or equal to 1"),
    ([{"concurrency": 1}, {"starts": 5}], "rules.1", "starts and per_s belong together"),
    ([{"starts": 5, "per_s": 1, "each": "worker"}], "rules.0", "limits concurrency only"),
    ([{}], "rules.0", "a limit says concurrency"),
    ([{"concurrency": 1, "each": "shop"}], "rules.0.each", "'all', 'tenant' or 'worker'"),
    ([{"concurency": 1}], "rules.0.concurency", "not permitted"),
    ([{"concurrency": True}], "rules.0.concurrency", "integer"),
    ({"concurrency": 1}, "rules", "array"),
    ([{"concurrency": 1}] * 21, "rules", "at most 20"),
]


def test_a_limit_that_can_not_be_meant_is_refused_by_field(program: Client, subtests: pytest.Subtests) -> None:
    for rules, field, told in REFUSED:
        with subtests.test(rules=rules):
            answer = put(program, "limits", "queue", "default", rules=rules)

            assert (answer.status_code, fields(answer)) == (422, [field])
            assert told in answer.json["errors"][0]["message"]


# --- pauses


def test_a_pause_holds_is_told_and_ends(program: Client) -> None:
    made = put(program, "pauses", "tenant", "acme", reason="unpaid", for_s=3600)

    assert (made.json["paused"], made.json["reason"]) == (True, "unpaid")
    ends = datetime.fromisoformat(made.json["until"])
    assert abs(ends - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=30)
    held = submit(JOB, {"order_id": "o-1"}, tenant="acme", confirm=False)
    assert held.outcome == "waiting"
    [gate] = program.get("/api/pauses").json["pauses"]
    assert (gate["kind"], gate["name"], gate["waiting"]) == ("tenant", "acme", 1)

    over = delete(program, "pauses", "tenant", "acme")
    assert (over.json["paused"], over.json["until"], over.json["reason"]) == (False, None, None)
    assert listed(program, "pauses") == []
    job = find(held.job_id)
    assert job is not None
    assert job.state == "waiting"  # Until the scheduler releases it.


def test_pausing_again_changes_reason_and_end(program: Client) -> None:
    put(program, "pauses", "queue", "default", reason="a", until="2031-01-31T08:00:00+01:00")
    again = put(program, "pauses", "queue", "default", reason="b").json

    assert (again["paused"], again["reason"], again["until"]) == (True, "b", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "noon"}, "until"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2031-01-01T00:00:00Z", "for_s": 5}, "until"),
        ({"for_s": -1}, "for_s"),
        ({"for_s": 0}, "for_s"),
        ({"reason": "x" * 201}, "reason"),
        ({"reason": "NUL: \x00"}, "reason"),
        ({"why": "x"}, "why"),
    ],
)
def test_an_end_that_can_not_be_meant_is_refused(program: Client, body: dict[str, Any], field: str) -> None:
    answer = put(program, "pauses", "queue", "default", **body)

    assert (answer.status_code, fields(answer)) == (422, [field])
    assert listed(program, "pauses") == []


# --- names in addresses


def test_a_name_may_hold_anything_percent_encoded(program: Client, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        with subtests.test(name=name):
            assert put(program, "pauses", "tenant", name).json["name"] == name
            assert put(program, "limits", "tenant", name, rules=[{"concurrency": 1}]).json["name"] == name
            assert listed(program, "pauses") == [("tenant", name)]

            assert delete(program, "pauses", "tenant", name).status_code == 200
            assert delete(program, "limits", "tenant", name).status_code == 200
            assert listed(program, "pauses") == []


def test_a_slash_may_be_left_as_it_is(program: Client) -> None:
    assert program.put("/api/pauses/tenant/a/b", json={}).json["name"] == "a/b"


MISSPELT = [
    ("queue", "nope", "No lane works the queue 'nope'; there are: data_sync, default, scheduled"),
    ("job", "orders.proces", "did you mean 'orders.process'?"),
    ("worker", "x", "not found"),
    ("tenant", "\x00", "not found"),
    ("tenant", "x" * 201, "not found"),
]


@pytest.mark.parametrize("what", ["limits", "pauses"])
def test_a_misspelt_name_is_not_found(program: Client, what: str, subtests: pytest.Subtests) -> None:
    body = {"rules": [{"concurrency": 1}]} if what == "limits" else {}
    for whose, name, told in MISSPELT:
        with subtests.test(whose=whose, name=name):
            for answer in (put(program, what, whose, name, **body), delete(program, what, whose, name)):
                assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
                assert told in answer.json["detail"]


def test_a_queue_that_is_gone_can_still_be_resumed(program: Client) -> None:
    switches.pause("queue", "of last year", actor="test")

    assert delete(program, "pauses", "queue", "of last year").status_code == 200
    assert delete(program, "pauses", "queue", "of last year").status_code == 404


# --- who did it


def test_what_was_done_is_written_down_with_the_key_that_did_it(program: Client) -> None:
    later()
    put(program, "pauses", "queue", "default", reason="r")
    delete(program, "pauses", "queue", "default")
    put(program, "limits", "job", JOB, rules=[Limit(concurrency=1).as_dict()])
    delete(program, "limits", "job", JOB)

    with reading() as connection:
        done = connection.execute(select(audit).where(audit.c.subject.like("% %")).order_by(audit.c.id)).all()
    actor = f"key {apikeys.every()[0].id}"
    assert {one.actor for one in done} == {actor}
    assert [one.subject for one in done] == ["queue default"] * 2 + [f"job {JOB}"] * 2
    assert [one.action for one in done][:2] == ["pause", "resume"]
