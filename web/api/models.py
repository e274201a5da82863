"""What requests may hold and what answers do hold. The OpenAPI document is made from these and from what is served."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from celadon import JobSummary
from celadon.bulk import MAX_JOBS
from celadon.jobs import Submitted
from celadon.ledger.listing import MAX_LIMIT
from celadon.states import State
from celadon.submit import MAX_PRIORITY
from celadon.times import LONGEST_S

MAX_NAME = 200  # Characters of names and keys; the columns' width.

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _when(value: object) -> datetime:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        return datetime.fromisoformat(value.upper())
    raise ValueError("a time with its zone, such as 2027-01-31T08:00:00Z")


def whole(value: object) -> object:
    """JSON knows one kind of number: 1.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


When = Annotated[datetime, BeforeValidator(_when), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00]*$")]
Whole = Annotated[int, BeforeValidator(whole)]
Priority = Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY), BeforeValidator(whole)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]


def _given(field: str, kind: str) -> dict[str, Any]:
    """JSON Schema: the field is there, and is not null."""
    return {"required": [field], "properties": {field: {"type": kind}}}


class Strict(BaseModel):
    """Nothing is guessed, and a misspelt field is refused."""

    model_config = ConfigDict(strict=True, extra="forbid")


# --- what requests hold


class Submission(Strict):
    """What is said of a job, whoever runs it."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"allOf": [_given("run_at", "string"), _given("delay_s", "number")]}}
    )

    key: Name | None = Field(None, description="Idempotency key: the same key again gives the first job back.")
    run_at: When | None = Field(None, description="When it is due; a past time is now.")
    delay_s: Seconds | None = Field(None, description="In how many seconds it is due; instead of `run_at`.")
    expires_in_s: Seconds | None = Field(None, description="Not run unless begun within so many seconds.")
    priority: Priority | None = Field(None, description="Higher goes first.")
    tenant: Name | None = Field(None, description="For whom it is done; jobs can be listed by it.")


class SubmitJob(Submission):
    """A job to be done."""

    name: Name = Field(description="Of a declared job.")
    payload: dict[str, Any] = Field(description="The job's parameters; its declaration says which.")
    queue: Name | None = Field(None, description="Instead of the declared one.")
    confirm: bool | None = Field(
        None, description="Wait a moment for a worker to pick it up, and fall back if none does. Not in a bulk."
    )


class Delegate(Submission):
    """A job to be delivered to the service that owns the queue."""

    data: Any = Field(None, description="What the service is handed as it is; left out: null.")
    callback: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="A URL that is told, signed, how the job has ended; its origin has to be registered.",
    )


class SubmitJobs(Strict):
    """Jobs to be done. Each is judged by itself: a bad one is refused in its place among the results."""

    jobs: list[SubmitJob | Any] = Field(min_length=1, max_length=MAX_JOBS)


class Reschedule(Strict):
    """When a scheduled job is due: one of the two."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_given("run_at", "string"), _given("delay_s", "number")]})

    run_at: When | None = Field(None, description="A past time is now.")
    delay_s: Seconds | None = Field(None, description="In how many seconds.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Reschedule:
        if (self.run_at is None) == (self.delay_s is None):
            raise ValueError("give one of run_at and delay_s")
        return self


class Query(BaseModel):
    """Parameters in the address. They come as text, which is read as what it says."""

    model_config = ConfigDict(extra="forbid")


class ListQuery(Query):
    state: list[State] = Field([], description="Any of these; may be repeated.")
    name: Name | None = Field(None, description="Jobs of this name.")
    queue: Name | None = Field(None, description="Jobs of this queue.")
    tenant: Name | None = Field(None, description="Jobs of this tenant.")
    error: Name | None = Field(None, description="Jobs that failed of this cause: an error's `fingerprint`.")
    created_after: When | None = Field(None, description="Stored then or later.")
    created_before: When | None = Field(None, description="Stored earlier than that.")
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Most jobs in a page.")
    after: str | None = Field(None, description="The `next` of the page before, as it is.")


class JobQuery(Query):
    wait: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Answer when the job has ended, or as it is after so many seconds, at most 30.",
    )
    include: Literal["payload"] | None = Field(
        None,
        description="Tell the payload too, and the body of the delivery's request, which holds it; this takes the "
        "scope `operate` as well.",
    )


# --- what answers hold


class JobReceipt(BaseModel):
    """What became of a submission."""

    job_id: str
    outcome: Submitted
    by: str | None = Field(description="Who picked it up.")
    after_ms: float | None = Field(description="From the submission to the pick-up.")
    reason: str | None
    href: str = Field(description="Where the job is.")


class FieldError(BaseModel):
    field: str = Field(description="A path into the request, such as `payload.width`.")
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="`urn:celadon:problem:…`, or `about:blank`: the status says it all.")
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = Field(None, description="What to mend in the request.")
    job_id: str | None = Field(None, description="The job this is about.")
    scope: str | None = Field(None, description="What the key lacks.")


class Accepted(BaseModel):
    index: int
    status: Literal[202]
    receipt: JobReceipt


class NotAccepted(BaseModel):
    index: int
    status: int
    error: Problem


class Results(BaseModel):
    """What became of each job of a bulk, in the order given."""

    results: list[Accepted | NotAccepted]
    accepted: int
    refused: int


class JobList(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[JobSummary]
    next: str | None = Field(description="Give it as `after` for the next page; null: these were the last.")
