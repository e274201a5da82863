"""What becomes of a job by the answer to its delivery. docs/reference/delegation-answers.md says the same; a test
compares the two.

Both tables are read from above: the first row that fits decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from celadon.delegation.client import Answered, InDoubt, NotConnected, Outcome
from celadon.delegation.retry_after import retry_after_s

ERROR_MOST = 1000  # Characters of an answer's error that a job keeps.


class Becomes(StrEnum):
    """What becomes of the job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed try, backs off"
    DEAD = "dead at once"
    POSTPONED = "postponed, no try burnt"
    ASKED = "in doubt: asked"
    ASKED_AGAIN = "asked again"
    POSTED_AGAIN = "posted again"
    NOT_ASKABLE = "posted, if this run has not yet; else a failed try"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What becomes of the job, and why."""

    becomes: Becomes
    why: str = ""
    in_doubt: bool = False  # Whether the service may have the job, or be done with it, all the same.
    result: Any = None
    after_s: float | None = None  # Of a postponed one: when it may come again; None: nobody said.


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of a request, with its body read. `told` is the answer's JSON object, or empty."""

    outcome: Outcome
    attempts_made: int  # Of the try that it was about.
    status: int = 0  # 0: there is no answer.
    told: dict[str, Any]
    retry_after_s: float | None = None

    @property
    def fine(self) -> bool:
        return 200 <= self.status < 300

    @property
    def succeeded(self) -> bool:
        return self.told.get("success") is True

    @property
    def failed(self) -> bool:
        return self.told.get("success") is False

    @property
    def done(self) -> bool:
        return self.told.get("state") == "done"

    @property
    def of_this_try(self) -> bool:
        """Whether the end that is told of is that of this try, or of a later one."""
        of = self.told.get("attemptsMade", self.attempts_made)
        return not isinstance(of, int) or of >= self.attempts_made

    @property
    def permanently(self) -> bool:
        return self.told.get("permanent") is True


@dataclass(frozen=True, slots=True)
class Row:
    """An answer, as the docs write it, and what becomes of the job.

    in_doubt: it leaves open what the service has done: a run that comes after it asks before it posts.
    """

    answer: str
    fits: Callable[[Reply], bool]
    becomes: Becomes
    in_doubt: bool = False


POSTED = (
    Row("no connection", lambda r: isinstance(r.outcome, NotConnected), Becomes.FAILED),
    Row("connected, and no whole answer", lambda r: isinstance(r.outcome, InDoubt), Becomes.ASKED, in_doubt=True),
    Row("200–299, larger than `max_answer_bytes`", lambda r: r.fine and _is_cut(r), Becomes.DEAD, in_doubt=True),
    Row('200–299, `{"success": true}`', lambda r: r.fine and r.succeeded, Becomes.SUCCEEDED),
    Row(
        '200–299, `{"success": false, "permanent": true}`',
        lambda r: r.fine and r.failed and r.permanently,
        Becomes.DEAD,
    ),
    Row('200–299, `{"success": false}`', lambda r: r.fine and r.failed, Becomes.FAILED),
    Row("200–299, anything else", lambda r: r.fine, Becomes.FAILED, in_doubt=True),
    Row("409", lambda r: r.status == 409, Becomes.ASKED, in_doubt=True),
    Row(
        "429 or 503 with `Retry-After`",
        lambda r: r.status in (429, 503) and r.retry_after_s is not None,
        Becomes.POSTPONED,
    ),
    Row("408", lambda r: r.status == 408, Becomes.FAILED, in_doubt=True),
    Row("425 or 429", lambda r: r.status in (425, 429), Becomes.FAILED),
    Row("300–399", lambda r: 300 <= r.status < 400, Becomes.DEAD),
    Row("400–499", lambda r: 400 <= r.status < 500, Becomes.DEAD),
    Row('500–599, `{"success": false}`', lambda r: r.status >= 500 and r.failed, Becomes.FAILED),
    # A gateway's word, as likely as not: who stands behind it may have done the work.
    Row("500–599, and anything else", lambda _: True, Becomes.FAILED, in_doubt=True),
)

ASKED = (
    Row("no connection", lambda r: isinstance(r.outcome, NotConnected), Becomes.POSTPONED, in_doubt=True),
    Row("connected, and no whole answer", lambda r: isinstance(r.outcome, InDoubt), Becomes.FAILED, in_doubt=True),
    # Only a result is as large as that: it is not for want of an answer that the job would be posted again.
    Row("200–299, larger than `max_answer_bytes`", lambda r: r.fine and _is_cut(r), Becomes.DEAD, in_doubt=True),
    Row('`{"state": "running"}`', lambda r: r.told.get("state") == "running", Becomes.ASKED_AGAIN, in_doubt=True),
    Row('`{"state": "done", "success": true}`', lambda r: r.done and r.succeeded, Becomes.SUCCEEDED),
    Row(
        '`{"state": "done", "success": false}`, of an earlier try',
        lambda r: r.done and r.failed and not r.of_this_try,
        Becomes.POSTED_AGAIN,
    ),
    Row(
        '`{"state": "done", "success": false, "permanent": true}`',
        lambda r: r.done and r.failed and r.permanently,
        Becomes.DEAD,
    ),
    Row('`{"state": "done", "success": false}`', lambda r: r.done and r.failed, Becomes.FAILED),
    Row(
        '`{"state": "unknown"}` or `{"state": "interrupted"}`',
        lambda r: r.told.get("state") in ("unknown", "interrupted"),
        Becomes.POSTED_AGAIN,
    ),
    Row(
        "429 or 503 with `Retry-After`",
        lambda r: r.status in (429, 503) and r.retry_after_s is not None,
        Becomes.POSTPONED,
        in_doubt=True,
    ),
    Row("500, and 502–599", lambda r: r.status >= 500 and r.status != 501, Becomes.FAILED, in_doubt=True),
    Row("anything else: it can't be asked", lambda _: True, Becomes.NOT_ASKABLE, in_doubt=True),
)


def of_post(outcome: Outcome, attempts_made: int) -> Verdict:
    """What becomes of a job that was posted."""
    return _decided(POSTED, outcome, attempts_made)


def of_question(outcome: Outcome, attempts_made: int) -> Verdict:
    """What becomes of a job that was asked after."""
    return _decided(ASKED, outcome, attempts_made)


def _decided(rows: tuple[Row, ...], outcome: Outcome, attempts_made: int) -> Verdict:
    reply = _read(outcome, attempts_made)
    row = next(row for row in rows if row.fits(reply))
    return Verdict(
        becomes=row.becomes,
        why=_why(reply, row),
        in_doubt=row.in_doubt,
        result=reply.told.get("result") if row.becomes == Becomes.SUCCEEDED else None,
        after_s=reply.retry_after_s if row.becomes == Becomes.POSTPONED else None,
    )


def _read(outcome: Outcome, attempts_made: int) -> Reply:
    if not isinstance(outcome, Answered):
        return Reply(outcome=outcome, attempts_made=attempts_made, told={})
    return Reply(
        outcome=outcome,
        attempts_made=attempts_made,
        status=outcome.status,
        told=_object(outcome.body),
        retry_after_s=retry_after_s(outcome.headers),
    )


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; empty if it is none."""
    try:
        told = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is no number that could be written down again")
    return number


def _is_cut(reply: Reply) -> bool:
    return isinstance(reply.outcome, Answered) and reply.outcome.cut


def _why(reply: Reply, row: Row) -> str:
    """Why, in the words that the job keeps."""
    if not isinstance(reply.outcome, Answered):
        return reply.outcome.reason
    if row.becomes == Becomes.SUCCEEDED:
        return ""
    error = reply.told.get("error")
    if error is not None:
        text = error if isinstance(error, str) else json.dumps(error)
        return text[:ERROR_MOST] if reply.fine else f"answered {reply.status}: {text[:ERROR_MOST]}"
    if reply.told.get("state"):
        return f"it says that the job is {reply.told['state']}"
    if _is_cut(reply) and reply.fine:
        return (
            f"answered {reply.status} with more than {len(reply.outcome.body)} bytes; the work may be done: have it "
            "return a reference, or raise max_answer_bytes, and replay the job"
        )
    beginning = reply.outcome.body[:200].decode("utf-8", "replace").strip()
    told = (
        f"answered {reply.status}, which means: {row.becomes}"
        if not reply.fine
        else (f"answered {reply.status} without a JSON object that has `success`")
    )
    return f"{told}; it begins {beginning!r}" if beginning else told
