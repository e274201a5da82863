"""Schedules over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select

from celadon import beat_schedule, find
from celadon.ledger import apikeys
from celadon.ledger import schedules as ledger
from celadon.ledger.apikeys import Scope
from celadon.ledger.db import reading
from celadon.ledger.tables import audit
from tests.unit.web.api.given import JOB, fields
from tests.unit.web.conftest import Client, with_key

NIGHTLY = {"name": "nightly", "job": JOB, "payload": {"order_id": "o-1"}, "crontab": "0 2 * * *"}
NAMES = ["a b", "a/b", "//x/", "ü?#%&+", "preview", "x/pause/y"]


def at(name: str, action: str = "") -> str:
    return f"/api/schedules/{quote(name, safe='')}{action}"


def added(program: Client, **changes: Any) -> Any:
    answer = program.post("/api/schedules", json={**NIGHTLY, **changes})
    assert answer.status_code == 201, answer.text
    return answer


def test_a_schedule_is_made_shown_listed_and_removed(program: Client) -> None:
    made = added(program, timezone="Europe/Berlin", overlap="skip", jitter_s=30, starts_at="2031-01-01T00:00:00Z")

    assert made.headers["Location"] == "/api/schedules/nightly"
    facts = {"name": "nightly", "job": JOB, "when": "0 2 * * * Europe/Berlin", "source": "api", "status": "active"}
    policies = {"missed": "latest", "missed_max": 10, "overlap": "skip", "jitter_s": 30.0, "last_job": None}
    assert {**facts, **policies}.items() <= made.json.items()
    assert (made.json["starts_at"], made.json["next_due"]) == ("2031-01-01T00:00:00.000Z", "2031-01-01T01:00:00.000Z")
    assert "payload" not in made.json
    assert program.get(at("nightly")).json == made.json
    assert made.json in program.get("/api/schedules").json["schedules"]

    assert program.delete(at("nightly")).json == made.json
    gone = program.get(at("nightly"))
    assert (gone.status_code, gone.json["type"]) == (404, "urn:celadon:problem:no-such-schedule")


def test_the_payload_is_told_to_those_who_ask_and_may(app: Flask, program: Client) -> None:
    added(program)

    assert program.get(at("nightly", "?include=payload")).json["payload"] == {"order_id": "o-1"}
    refused = with_key(app, Scope.READ).get(at("nightly", "?include=payload"))
    assert (refused.status_code, refused.json["scope"]) == (403, "operate")


def test_what_is_not_named_in_a_change_stays_and_null_takes_back(program: Client) -> None:
    added(program, queue="data_sync", ends_at="2031-01-01T00:00:00Z", timezone="Europe/Berlin")

    changed = program.patch(at("nightly"), json={"crontab": "30 3 * * *", "ends_at": None, "queue": None}).json
    assert (changed["when"], changed["ends_at"], changed["queue"]) == ("30 3 * * * Europe/Berlin", None, None)
    assert program.patch(at("nightly"), json={"every_s": 300}).json["when"] == "every 300 s"
    assert program.patch(at("nightly"), json={}).json["when"] == "every 300 s"
    assert program.patch(at("nightly"), json={"at": "2031-01-01T00:00:00Z"}).json["next_due"].startswith("2031-01-01")


def test_a_crontab_is_not_left_without_a_zone(program: Client) -> None:
    added(program, timezone="Europe/Berlin")

    answer = program.patch(at("nightly"), json={"timezone": None})

    assert (answer.status_code, fields(answer)) == (422, ["timezone"])
    assert program.get(at("nightly")).json["when"] == "0 2 * * * Europe/Berlin"


@pytest.mark.parametrize("reason", ["", "x" * 201, "NUL: \x00"])
def test_a_reason_that_can_not_be_kept_is_refused(program: Client, reason: str) -> None:
    added(program)

    answer = program.post(at("nightly", "/pause"), json={"reason": reason})

    assert (answer.status_code, fields(answer)) == (422, ["reason"])
    assert program.get(at("nightly")).json["status"] == "active"


def test_a_schedule_is_paused_with_a_reason_and_resumed(program: Client) -> None:
    added(program)

    paused = program.post(at("nightly", "/pause"), json={"reason": "holidays"}).json
    assert (paused["status"], paused["reason"], paused["next_due"]) == ("paused", "holidays", None)
    resumed = program.post(at("nightly", "/resume")).json
    assert (resumed["status"], resumed["reason"]) == ("active", None)
    assert resumed["next_due"] is not None


def test_run_now_makes_one_job_and_says_where_it_is(program: Client) -> None:
    added(program)

    fired = program.post(at("nightly", "/run-now"))

    assert (fired.status_code, fired.headers["Location"]) == (202, fired.json["href"])
    assert program.get(fired.json["href"]).json["name"] == JOB
    job = find(fired.json["job_id"])
    assert job is not None
    assert job.payload == {"order_id": "o-1"}
    assert program.get(at("nightly")).json["last_job"] == job.id


def test_a_preview_tells_each_time_by_both_clocks(program: Client) -> None:
    added(program, crontab="30 2 * * sun", timezone="Europe/Berlin", starts_at="2031-03-24T00:00:00Z")

    due = program.get(at("nightly", "/preview?count=2")).json["due"]

    # In the night of the 30th the clocks skip this half hour: the first instant after it.
    assert due == [
        {"at": "2031-03-30T01:00:00.000Z", "local": "2031-03-30T03:00:00.000+02:00"},
        {"at": "2031-04-06T00:30:00.000Z", "local": "2031-04-06T02:30:00.000+02:00"},
    ]
    assert len(program.get(at("nightly", "/preview")).json["due"]) == 10
    assert fields(program.get(at("nightly", "/preview?count=1001"))) == ["count"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"crontab": "61 2 * * *"}, "crontab", "0-59"),
    ({"crontab": "0 2 * *"}, "crontab", "five are wanted"),
    ({"crontab": "0 2 * * *", "timezone": "Europe/Berln"}, "timezone", "did you mean 'Europe/Berlin'?"),
    ({"crontab": None, "every_s": 0.5}, "every_s", "greater than or equal to 1"),
    ({"crontab": None, "every_s": 60, "timezone": "Europe/Berlin"}, "timezone", "is for a crontab"),
    ({"crontab": None, "at": "2020-01-01T00:00:00Z"}, "at", "no due time is left"),
    ({"crontab": None, "every_s": 315360000, "starts_at": "9995-01-01T00:00:00Z"}, "starts_at", "no due time comes"),
    ({"crontab": None, "at": "tomorrow"}, "at", "a time with its zone"),
    ({"job": "orders.proces"}, "job", "did you mean 'orders.process'?"),
    ({"queue": "nope"}, "queue", "No lane works the queue 'nope'"),
    ({"payload": {"order": 1}}, "payload.order_id", "Field required"),
    ({"missed": "some"}, "missed", "'skip', 'latest' or 'all'"),
    ({"missed": "all", "overlap": "skip"}, "overlap", "missed='all'"),
    ({"missed_max": 0}, "missed_max", "greater than or equal to 1"),
    ({"jitter_s": -1}, "jitter_s", "greater than or equal to 0"),
    ({"name": "x" * 201}, "name", "at most 200"),
    ({"name": "x/pause"}, "name", "a name can't end with what is done to schedules over HTTP: /pause, /resume"),
    ({"cron": "0 2 * * *"}, "cron", "not permitted"),
]


def test_a_schedule_that_can_not_be_kept_is_refused_by_field(program: Client, subtests: pytest.Subtests) -> None:
    for changes, field, told in REFUSED:
        with subtests.test(changes=changes):
            answer = program.post("/api/schedules", json={**NIGHTLY, **changes})

            assert answer.status_code == 422
            assert fields(answer)[0] == field
            assert told in answer.json["errors"][0]["message"]
    assert program.get("/api/schedules").json == {"schedules": []}


@pytest.mark.parametrize("changes", [{"crontab": None}, {"every_s": 60}])
def test_a_schedule_has_one_rule(program: Client, changes: dict[str, Any]) -> None:
    answer = program.post("/api/schedules", json={**NIGHTLY, **changes})

    assert answer.status_code == 422
    assert "give one of crontab, every and at" in answer.json["detail"]


def test_a_name_that_is_taken_is_a_conflict(program: Client) -> None:
    added(program)

    answer = program.post("/api/schedules", json=NIGHTLY)

    assert (answer.status_code, answer.content_type) == (409, "application/problem+json")
    assert "There is a schedule 'nightly' already" in answer.json["detail"]


def test_what_the_configuration_names_is_changed_there(program: Client) -> None:
    ledger.sync(beat_schedule.entries(), beat_schedule.generation())
    [ours, *_] = program.get("/api/schedules").json["schedules"]
    assert ours["source"] == "config"

    for answer in (program.patch(at(ours["name"]), json={"every_s": 60}), program.delete(at(ours["name"]))):
        assert answer.status_code == 409
        assert "celeryconfig.beat_schedule" in answer.json["detail"]
    assert program.post(at(ours["name"], "/pause"), json={}).json["status"] == "paused"


def test_a_name_may_hold_anything_percent_encoded(program: Client, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        with subtests.test(name=name):
            location = added(program, name=name).headers["Location"]

            assert program.get(location).json["name"] == name
            assert program.patch(location, json={"jitter_s": 1}).json["name"] == name
            assert program.post(f"{location}/pause", json={}).json["status"] == "paused"
            assert program.post(f"{location}/resume").json["name"] == name
            assert len(program.get(f"{location}/preview").json["due"]) == 10
            assert program.delete(location).json["name"] == name


def test_there_is_nothing_to_do_to_an_unknown_schedule(program: Client) -> None:
    for name in ("nobody", "a/b", "\x00", "x" * 201):
        answers = [
            program.get(at(name)),
            program.patch(at(name), json={}),
            program.delete(at(name)),
            program.post(at(name, "/pause"), json={}),
            program.post(at(name, "/resume")),
            program.post(at(name, "/run-now")),
            program.get(at(name, "/preview")),
        ]
        for answer in answers:
            assert (answer.status_code, answer.content_type) == (404, "application/problem+json"), name


def test_what_was_done_is_written_down_with_the_key_that_did_it(program: Client) -> None:
    added(program)
    program.post(at("nightly", "/pause"), json={"reason": "r"})
    program.delete(at("nightly"))

    with reading() as connection:
        done = connection.execute(select(audit).where(audit.c.subject == "nightly").order_by(audit.c.id)).all()
    assert [one.action for one in done] == ["add schedule", "pause schedule", "remove schedule"]
    assert {one.actor for one in done} == {f"key {apikeys.every()[0].id}"}
