"""What each answer means: the table in the docs is the one in the code, and the rows decide in their order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from celadon.delegation.client import Answered, InDoubt, NotConnected
from celadon.delegation.retry_after import retry_after_s
from celadon.delegation.status_table import ASKED, POSTED, Becomes, Row, of_post, of_question

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "delegation-answers.md"


def answered(status: int, told: Any = None, *, cut: bool = False, **headers: str) -> Answered:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status=status, headers=named, body=body, cut=cut)


@pytest.mark.parametrize(("title", "rows"), [("The answer to the POST", POSTED), ("The answer to being asked", ASKED)])
def test_the_docs_have_the_rows_of_the_code_in_their_order(title: str, rows: tuple[Row, ...]) -> None:
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    written = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)[1:]

    assert written == [(row.answer, row.becomes.value, what_comes_next(row)) for row in rows]


def what_comes_next(row: Row) -> str:
    if row.becomes == Becomes.SUCCEEDED:
        return "none"
    return "asks first" if row.in_doubt else "posts"


def test_everything_that_can_become_of_a_job_is_in_a_table() -> None:
    assert {row.becomes for row in (*POSTED, *ASKED)} == set(Becomes)


SUCCESS, FAILURE = {"success": True, "result": {"id": 7}}, {"success": False, "error": "no ink"}


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [
        (NotConnected(reason="refused"), Becomes.FAILED),
        (InDoubt(reason="cut"), Becomes.ASKED),
        (answered(200, SUCCESS), Becomes.SUCCEEDED),
        (answered(201, {"success": True}), Becomes.SUCCEEDED),
        (answered(200, FAILURE), Becomes.FAILED),
        (answered(200, {**FAILURE, "permanent": True}), Becomes.DEAD),
        (answered(200, SUCCESS, cut=True), Becomes.DEAD),
        (answered(200, {"success": "yes"}), Becomes.FAILED),
        (answered(200, [SUCCESS]), Becomes.FAILED),
        (answered(200, b"{'success': true}"), Becomes.FAILED),
        (answered(200, b'{"success": true, "result": NaN}'), Becomes.FAILED),
        (answered(200, b'{"success": true, "result": -1e999}'), Becomes.FAILED),
        (answered(200, b"[" * 100_000), Becomes.FAILED),
        (answered(200, b'{"success": true, "result": ' + b"9" * 5000 + b"}"), Becomes.FAILED),
        (answered(204, b""), Becomes.FAILED),
        (answered(409, FAILURE), Becomes.ASKED),
        (answered(429, retry_after="7"), Becomes.POSTPONED),
        (answered(503, retry_after="7"), Becomes.POSTPONED),
        (answered(429), Becomes.FAILED),
        (answered(503), Becomes.FAILED),
        (answered(503, retry_after="soon"), Becomes.FAILED),
        (answered(500, retry_after="7"), Becomes.FAILED),
        *[(answered(status, SUCCESS), Becomes.FAILED) for status in (101, 408, 425, 500, 501, 502, 504, 599, 999)],
        *[(answered(status, SUCCESS), Becomes.DEAD) for status in (300, 301, 302, 303, 304, 307, 308)],
        *[(answered(status, SUCCESS), Becomes.DEAD) for status in (400, 401, 403, 404, 405, 410, 413, 415, 422, 451)],
    ],
)
def test_a_posted_job_becomes(outcome: Any, becomes: Becomes) -> None:
    assert of_post(outcome, 0).becomes == becomes


def done(success: bool, **more: Any) -> dict[str, Any]:
    return {"state": "done", "success": success, "result" if success else "error": "x", **more}


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [
        (NotConnected(reason="refused"), Becomes.POSTPONED),
        (InDoubt(reason="cut"), Becomes.FAILED),
        (answered(200, {"state": "running"}), Becomes.ASKED_AGAIN),
        (answered(200, {"state": "unknown"}), Becomes.POSTED_AGAIN),
        (answered(404, {"state": "unknown"}), Becomes.POSTED_AGAIN),
        (answered(200, {"state": "interrupted"}), Becomes.POSTED_AGAIN),
        *[(answered(200, done(True, attemptsMade=made)), Becomes.SUCCEEDED) for made in (0, 2, 5)],
        (answered(200, done(True)), Becomes.SUCCEEDED),
        (answered(200, done(False, attemptsMade=1)), Becomes.POSTED_AGAIN),
        (answered(200, done(False, attemptsMade=1, permanent=True)), Becomes.POSTED_AGAIN),
        (answered(200, done(False, attemptsMade=2)), Becomes.FAILED),
        (answered(200, done(False, attemptsMade=3)), Becomes.FAILED),
        (answered(200, done(False)), Becomes.FAILED),
        (answered(200, done(False, attemptsMade=2, permanent=True)), Becomes.DEAD),
        (answered(200, done(True), cut=True), Becomes.DEAD),
        (answered(200, {"state": "done"}), Becomes.NOT_ASKABLE),
        (answered(200, {"state": "sleeping"}), Becomes.NOT_ASKABLE),
        (answered(503, retry_after="7"), Becomes.POSTPONED),
        *[(answered(status), Becomes.FAILED) for status in (500, 502, 503, 504)],
        *[(answered(status), Becomes.NOT_ASKABLE) for status in (200, 302, 401, 404, 405, 429, 501)],
    ],
)
def test_a_job_that_was_asked_after_becomes(outcome: Any, becomes: Becomes) -> None:
    assert of_question(outcome, 2).becomes == becomes


@pytest.mark.parametrize(
    ("outcome", "in_doubt"),
    [
        (InDoubt(reason="cut"), True),
        (answered(200, FAILURE), False),
        (answered(500, FAILURE), False),
        (answered(422, FAILURE), False),
        (answered(503, retry_after="7"), False),
        *[(answered(status), True) for status in (200, 408, 409, 500, 502, 504)],
        (answered(200, SUCCESS, cut=True), True),
    ],
)
def test_only_what_the_service_says_itself_leaves_no_doubt(outcome: Any, in_doubt: bool) -> None:
    assert of_post(outcome, 0).in_doubt == in_doubt


@pytest.mark.parametrize(
    ("outcome", "in_doubt"),
    [
        (NotConnected(reason="refused"), True),
        (InDoubt(reason="cut"), True),
        (answered(200, {"state": "running"}), True),
        (answered(200, {"state": "unknown"}), False),
        (answered(200, done(False)), False),
        (answered(200, done(False, attemptsMade=1)), False),
        *[(answered(status), True) for status in (404, 500, 502)],
    ],
)
def test_an_answer_to_being_asked_may_leave_it(outcome: Any, in_doubt: bool) -> None:
    assert of_question(outcome, 2).in_doubt == in_doubt


def test_a_success_has_its_result_and_a_failure_says_why() -> None:
    assert of_post(answered(200, SUCCESS), 0).result == {"id": 7}
    assert of_post(answered(200, {"success": True}), 0).result is None
    assert of_question(answered(200, done(True)), 0).result == "x"
    assert of_post(answered(200, FAILURE), 0).why == "no ink"
    assert of_post(answered(200, {"success": False, "error": {"code": 3}}), 0).why == '{"code": 3}'
    assert of_post(answered(422, FAILURE), 0).why == "answered 422: no ink"
    assert of_post(NotConnected(reason="refused"), 0).why == "refused"
    assert "it begins 'Oh no'" in of_post(answered(500, b"Oh no"), 0).why
    assert "raise max_answer_bytes" in of_post(answered(200, b"x" * 10, cut=True), 0).why
    assert len(of_post(answered(200, {"success": False, "error": "x" * 99_999}), 0).why) == 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "99999999999999999999"}, 3600),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "7.5"}, None),
        ({"retry-after": "٧"}, None),
        ({"retry-after": "soon"}, None),
        (
            {"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"},
            60,  # By the clock of who answers.
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT", "date": "yesterday"}, 1),
        ({"retry-after": "Wed, 99 Oct 2015 07:29:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(headers: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(("from_now_s", "seconds"), [(90, 90), (-86_400, 1)])
def test_a_date_without_the_answer_s_own_clock_counts_by_ours(from_now_s: float, seconds: float) -> None:
    at = datetime.now(UTC) + timedelta(seconds=from_now_s)

    told = retry_after_s({"retry-after": format_datetime(at, usegmt=True)})

    assert told == pytest.approx(seconds, abs=5 if from_now_s > 0 else 0)
