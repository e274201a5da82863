"""Submitting many jobs over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from celadon import errors
from celadon.client import (
    InvalidRequest,
    NotAuthorized,
    UnknownJob,
    bodies,
)
from tests.unit.celadon.client.given import good, receipt
from tests.unit.celadon.scripted import CUT, Reply, problem


def test_many_jobs_go_together_each_under_a_key_and_come_to_receipts_or_errors(server, call):
    unknown = problem(422, "unknown-job").json
    results = [
        {"index": 0, "status": 202, "receipt": receipt("1")},
        {"index": 1, "status": 422, "error": unknown},
        {"index": 2, "status": 202, "receipt": receipt("3", "scheduled")},
    ]
    server.replies = [CUT, Reply(json={"results": results, "accepted": 2, "refused": 1})]
    jobs = [
        {"name": "a", "payload": {}, "key": "own"},
        {"name": "b", "payload": {}},
        {"name": "c", "payload": {}, "delay": 5},
    ]

    first, second, third = call("submit_many", jobs)

    assert (first.job_id, third.outcome) == ("1", "scheduled")
    assert isinstance(second, UnknownJob)
    before, after = (asked.body["jobs"] for asked in server.asked)
    assert before == after
    assert [one["key"].split(":")[-1] for one in after] == ["own", "1", "2"]
    assert after[2]["delay_s"] == 5


def test_more_than_a_thousand_go_in_parts_and_a_repeated_call_names_the_same_keys(server, call):
    def answers(*counts: int) -> list[Reply]:
        return [Reply(json={"results": [{"status": 202, "receipt": receipt()}] * count}) for count in counts]

    jobs = [{"name": "a", "payload": {"number": number}} for number in range(1201)]
    server.replies = [*answers(1000), problem(403, "no-scope")]
    with pytest.raises(NotAuthorized) as broken:
        call("submit_many", iter(jobs))
    server.replies = answers(1000, 201)

    assert len(call("submit_many", iter(jobs), key=broken.value.idempotency_key)) == 1201

    first, second, *again = ([one["key"] for one in asked.body["jobs"]] for asked in server.asked)
    assert [first, second] == again
    assert len({*first, *second}) == 1201


def test_what_can_not_be_sent_is_refused_in_its_place_and_the_others_are_sent(server, call):
    server.replies = [good(1000), good(498)]
    jobs: list[dict[str, Any]] = [{"name": "a", "payload": {"number": number}} for number in range(1500)]
    jobs[1200]["run_at"] = datetime(2027, 1, 1)  # noqa: DTZ001
    jobs[1300]["payload"] = {"when": datetime.now(UTC)}

    results = call("submit_many", jobs)

    assert [number for number, result in enumerate(results) if isinstance(result, InvalidRequest)] == [1200, 1300]
    assert len(results) == 1500
    sent = [one["payload"]["number"] for asked in server.asked for one in asked.body["jobs"]]
    assert sent == [number for number in range(1500) if number not in (1200, 1300)]


def test_an_error_after_a_part_was_accepted_is_in_doubt(server, call):
    jobs = [{"name": "a", "payload": {}}] * 1001
    server.replies = [problem(413, "too-large"), good(1000), problem(413, "too-large")]

    with pytest.raises(errors.PayloadTooLarge) as first:
        call("submit_many", jobs)
    with pytest.raises(errors.PayloadTooLarge) as second:
        call("submit_many", jobs)

    assert (first.value.in_doubt, second.value.in_doubt) == (False, True)


def test_large_jobs_go_in_smaller_parts(server, call, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_BYTES", 1000)
    server.replies = [good(2), good(1), good(1)]

    assert (
        len(call("submit_many", [{"name": "a", "payload": {"text": "x" * size}} for size in (300, 300, 2000, 9)])) == 4
    )
    assert [len(asked.body["jobs"]) for asked in server.asked] == [2, 1, 1]


def test_no_jobs_are_no_request(server, call):
    assert (call("submit_many", []), server.asked) == ([], [])
