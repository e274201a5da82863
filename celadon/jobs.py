"""The values that cross the ledger's boundary: a job about to be stored, a claim, and what readers see."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from celadon.states import FINAL, Outcome, State


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """What submit stores."""

    id: str
    name: str
    queue: str
    payload: Mapping[str, Any]
    size: int
    max_attempts: int
    state: State = State.QUEUED
    priority: int = 0
    run_at: datetime | None = None
    delay_s: float | None = None
    expires_in_s: float | None = None
    tenant: str | None = None
    scope: str | None = None
    trace: Mapping[str, str] | None = None
    key: str | None = None
    key_scope: str = ""  # Within what the key is unique.
    payload_hash: str = ""
    callback: str | None = None  # The URL that its end is to be told to.
    schedule: str | None = None
    due: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to run one job now. Every write made under it names its epoch."""

    job_id: str
    epoch: int
    name: str
    queue: str
    payload: Mapping[str, Any]
    scope: str
    attempt: int  # Tries that failed before this one.
    max_attempts: int
    worker: str
    engine: str
    claimed_at: datetime
    tenant: str | None = None
    trace: Mapping[str, str] | None = None
    created_at: datetime | None = None
    queued_at: datetime | None = None
    run_at: datetime | None = None
    schedule: str | None = None
    frees: bool = False  # A limit counts it while it runs: its end makes room for another.
    begin_by: float | None = None  # Monotonic time by which its body has to begin, for the window of a limit.
    began: float = field(default_factory=time.monotonic)  # Good in every process of this host.

    def seconds(self) -> float:
        """How long ago it was claimed."""
        return time.monotonic() - self.began

    @property
    def promised_at(self) -> datetime | None:
        """When it was due, at the first claim of a job that was due later; a retry was promised to nobody."""
        if self.epoch != 1 or self.run_at is None or self.created_at is None:
            return None
        return self.run_at if self.schedule is not None or self.run_at > self.created_at else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What an attempt died of."""

    kind: str
    message: str
    traceback: str
    fingerprint: str
    cause: BaseException | None = None  # For those who watch; it is not kept.


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """A job whose runner is gone, as it was left."""

    job_id: str
    name: str
    queue: str
    schedule: str | None
    worker: str  # Who ran it.
    outcome: Outcome
    state: State


class Submitted(StrEnum):
    """What a receipt can say."""

    PENDING = "pending"  # Joined a transaction that has not committed yet.
    QUEUED = "queued"  # Sent to the broker, or waiting behind a deep backlog.
    PICKED_UP = "picked_up"  # A worker has it.
    INLINE = "inline"  # The submitting process ran it.
    DEFERRED = "deferred"  # In the ledger; workers take it when the broker is back, or by relief.
    SCHEDULED = "scheduled"  # Due later.
    WAITING = "waiting"  # Held by a pause or a limit.
    DUPLICATE = "duplicate"  # The key was used before: this is the first job.


@dataclass(kw_only=True, slots=True)
class Receipt:
    """What became of a submission.

    Complete when submit returns; with `session=` it says `pending` and is completed, in place, before the session's
    `commit()` returns.
    """

    job_id: str
    outcome: Submitted
    by: str | None = None  # Who picked it up.
    after_ms: float | None = None  # From the submission to the pick-up.
    reason: str | None = None

    def settle(
        self,
        outcome: Submitted,
        *,
        by: str | None = None,
        after_ms: float | None = None,
        reason: str | None = None,
    ) -> Receipt:
        self.outcome, self.by, self.after_ms, self.reason = outcome, by, after_ms, reason
        return self

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    number: int
    epoch: int
    worker: str | None
    engine: str | None
    started_at: datetime
    ended_at: datetime
    outcome: Outcome
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    name: str
    state: str
    error: str | None
    tries: int
    started_at: datetime
    last_attempt_at: datetime
    finished_at: datetime | None
    result: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestView:
    """A request to another service, as it is kept: secrets masked, the body cut."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None  # None: it is not told, for it holds the payload.


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerView:
    """What another service answered, as it is kept: secrets masked, the body cut."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryView:
    """The last delivery of a job that did not succeed."""

    at: datetime
    verdict: str  # What became of it, in words.
    in_doubt: bool  # Whether the service may have it all the same.
    seconds: float
    request: RequestView | None  # None: nothing was sent.
    answer: AnswerView | None  # None: there was none, or it was not heard.


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A job as readers see it, with its timeline."""

    id: str
    name: str
    queue: str
    state: State
    priority: int
    tenant: str | None
    attempt: int
    max_attempts: int
    crashes: int
    replays: int
    engine: str | None
    claimed_by: str | None
    cancel_requested: bool
    created_at: datetime
    run_at: datetime | None
    expires_at: datetime | None
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    result: Any
    error: Mapping[str, str | None] | None  # kind, message, and the fingerprint that failures of one cause share.
    payload: Mapping[str, Any] = field(repr=False)
    attempts: tuple[AttemptView, ...] = ()
    steps: tuple[StepView, ...] = ()
    delivery: DeliveryView | None = None  # Of a delegated job: the last that failed, whatever came after it.

    @property
    def finished(self) -> bool:
        return self.state in FINAL

    def as_dict(self, *, payload: bool = False) -> dict[str, Any]:
        """JSON-ready. payload: with the payload, and with the body of the delivery's request, which holds it too."""
        facts = asdict(self)
        asked = facts.pop("payload")
        if not payload and self.delivery is not None:
            facts["delivery"]["request"]["body"] = None
        plain: dict[str, Any] = as_plain({**facts, "payload": asked} if payload else facts)
        return plain


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSummary:
    """A job as one line of a list."""

    id: str
    name: str
    queue: str
    state: State
    priority: int
    tenant: str | None
    attempt: int
    max_attempts: int
    engine: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: Mapping[str, str | None] | None  # kind, message, and the fingerprint that failures of one cause share.

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        plain: dict[str, Any] = as_plain(asdict(self))
        return plain


def as_plain(value: Any) -> Any:
    """A value with its times as text, as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return value


def storable_text(text: str) -> str:
    """The text without what a database's text can't hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
