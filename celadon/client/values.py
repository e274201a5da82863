"""What the API tells, as values: the platform's own where it has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from celadon.client.errors import ApiError, of_problem
from celadon.jobs import JobView

T = TypeVar("T")
Kind = Literal["queue", "job", "tenant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What became of a submission: see `celadon.Receipt`."""

    job_id: str
    outcome: str
    by: str | None = None
    after_ms: float | None = None
    reason: str | None = None
    href: str | None = None  # Where to ask for the job.


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A schedule: see `celadon.schedules.ScheduleView`."""

    name: str
    job: str
    rule: Mapping[str, Any]
    when: str  # The rule in words.
    queue: str | None
    source: str  # config | api
    status: str  # active | paused | ended
    reason: str | None  # Why it is paused.
    missed: str
    missed_max: int
    overlap: str
    jitter_s: float
    starts_at: datetime | None
    ends_at: datetime | None
    last_due: datetime
    next_due: datetime | None  # None: it is paused, or has ended.
    last_job: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One rule of a gate: see `celadon.limits.Limit`."""

    concurrency: int | None
    starts: int | None
    per_s: float | None
    each: str  # all | tenant | worker


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How far one rule is used, under one key: see `celadon.ledger.limits.Use`."""

    rule: Limit
    key: str | None
    running: int
    reserved: int
    starts: int
    room: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A queue, a job's name or a tenant that is limited or paused: see `celadon.ledger.limits.Gate`."""

    kind: str
    name: str
    rules: tuple[Limit, ...]
    source: str | None
    paused: bool
    until: datetime | None
    reason: str | None
    use_broker: bool
    waiting: int
    uses: tuple[Use, ...]


def told(text: bytes | str) -> Mapping[str, Any]:
    """The JSON object that the API tells. Raises ApiError for anything else: some other server speaks there."""
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise stranger(f"no JSON: {text[:80]!r}") from error
    if not isinstance(facts, dict):
        raise stranger(f"no JSON object: {text[:80]!r}")
    return facts


def listed(facts: Mapping[str, Any], name: str) -> list[Any]:
    """A list in what the API tells. Raises ApiError."""
    if not isinstance(facts.get(name), list):
        raise stranger(f"without its {name}: {str(facts)[:80]}")
    found: list[Any] = facts[name]
    return found


def results_of(facts: Mapping[str, Any], count: int) -> list[Receipt | ApiError]:
    """What became of so many submissions. Raises ApiError."""
    each = listed(facts, "results")
    if len(each) != count:
        raise stranger(f"of {len(each)} jobs instead of {count}")
    return [_result(one) for one in each]


def _result(each: Any) -> Receipt | ApiError:
    try:
        return value_of(Receipt, each["receipt"]) if "receipt" in each else of_problem(each["status"], each["error"])
    except (KeyError, TypeError, AttributeError) as error:
        raise stranger(f"no receipt and no problem: {str(each)[:80]}") from error


def job_of(facts: Mapping[str, Any]) -> JobView:
    return value_of(JobView, {"payload": {}, **facts})


def value_of(kind: type[T], facts: Any) -> T:
    """A dataclass from its JSON form. What it does not know is left out: the server may be newer. Raises ApiError."""
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy doubts that a class can be hashed.
    try:
        return kind(**{name: _value(hints[name], value) for name, value in facts.items() if name in hints})
    except (TypeError, ValueError, AttributeError) as error:
        raise stranger(f"no {kind.__name__}: {error}") from error


def stranger(what: str) -> ApiError:
    """The error that some other server speaks there."""
    return ApiError(f"The answer is {what}; is the base URL that of Celadon?", in_doubt=True)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    for kind in get_args(hint) or (hint,):  # `datetime | None` is either of them.
        if kind is datetime:
            return datetime.fromisoformat(value)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value) if value in kind._value2member_map_ else value  # A word of a newer server stays a word.
        if isinstance(kind, type) and is_dataclass(kind):
            return value_of(kind, value) if isinstance(value, dict) else tuple(value_of(kind, each) for each in value)
    return value
