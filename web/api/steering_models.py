"""What requests about schedules, limits and pauses may hold, and what their answers do hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from celadon.ledger.limits import Gate
from celadon.limits import LONGEST_WINDOW_S, MOST, MOST_RULES, Each
from celadon.plans import MOST_MISSED
from celadon.schedules import MOST_PREVIEWED, Missed, Overlap, ScheduleView
from celadon.times import LONGEST_S
from web.api.models import Name, Query, Seconds, Strict, When, whole

Count = Annotated[int, Field(ge=1, le=MOST), BeforeValidator(whole)]
Window = Annotated[float, Field(ge=1, le=LONGEST_WINDOW_S)]
Interval = Annotated[float, Field(ge=1, le=LONGEST_S)]
Length = Annotated[float, Field(gt=0, le=LONGEST_S)]
Reason = Name  # As `celadon.reasons` keeps it.
Missable = Annotated[int, Field(ge=1, le=MOST_MISSED), BeforeValidator(whole)]


_KINDS_OF_RULE = ("crontab", "every_s", "at")
_MAY_MISS = ("queue", "starts_at", "ends_at")


def _there(*names: str, **others: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema: these are given, and not null; the others, if they are given, are so."""
    return {"required": list(names), "properties": {name: {"not": {"type": "null"}} for name in names} | others}


# --- what requests hold


class _Schedule(Strict):
    """What both a new schedule and a change may say. It is due by one of crontab, every_s and at."""

    payload: dict[str, Any] = Field({}, description="Of each job; the job's declaration says which.")
    crontab: str | None = Field(None, description="`minute hour day-of-month month day-of-week`, as in `0 2 * * *`.")
    timezone: str | None = Field(None, description="Whose wall clock `crontab` means, such as Europe/Berlin.")
    every_s: float | None = Field(
        None, ge=1, le=LONGEST_S, description="At each multiple of so many seconds since 1970."
    )
    at: When | None = Field(None, description="Once.")
    queue: Name | None = Field(None, description="Instead of the job's own.")
    missed: Missed = Field("latest", description="Which due times are made up for that none was there to fire.")
    missed_max: Missable = Field(10, description="Of `all`: the latest so many.")
    overlap: Overlap = Field("allow", description="What a due time does while the previous job has not ended.")
    jitter_s: Seconds = Field(0, description="Each due time is run up to so many seconds later.")
    starts_at: When | None = Field(None, description="No due time is before it.")
    ends_at: When | None = Field(None, description="No due time is after it.")

    def options(self) -> dict[str, Any]:
        """What was said, by the names of `celadon.schedules`. Null takes back what may be missing."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        made = {name: value for name, value in said.items() if value is not None or name in _MAY_MISS}
        if "every_s" in made:
            made["every"] = made.pop("every_s")
        return made


class NewSchedule(_Schedule):
    """A schedule to be made."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_there(kind) for kind in _KINDS_OF_RULE]})

    name: Name = Field(description="The schedule's own; no other may have it.")
    job: Name = Field(description="Of a declared job.")


class ChangedSchedule(_Schedule):
    """What is to be changed of a schedule; what is not named stays."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    _there("crontab", "every_s"),
                    _there("crontab", "at"),
                    _there("every_s", "at"),
                    {"required": ["timezone"], "properties": {"timezone": {"type": "null"}}},
                ]
            }
        }
    )

    job: Name | None = Field(None, description="Of a declared job.")

    @field_validator("timezone")
    @classmethod
    def _named(cls, zone: str | None) -> str:
        if zone is None:
            raise ValueError("a crontab has a zone; name another, such as UTC")
        return zone


class Why(Strict):
    """Why a schedule is paused."""

    reason: Reason | None = Field(None, description="Shown to whoever looks at it.")


class NewPause(Strict):
    """A pause of a queue, a job's name or a tenant; without an end it stands until it is resumed."""

    model_config = ConfigDict(json_schema_extra={"not": _there("until", "for_s")})

    reason: Reason | None = Field(None, description="Shown to whoever looks at it.")
    until: When | None = Field(None, description="When it ends by itself.")
    for_s: Length | None = Field(None, description="In how many seconds it ends by itself; instead of `until`.")


class Rule(Strict):
    """How many may run at a time, or start in any window of so many seconds, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _there("concurrency", starts={"type": "null"}, per_s={"type": "null"}),
                _there("starts", "per_s", each={"enum": ["all", "tenant"]}),
            ]
        }
    )

    concurrency: Count | None = Field(None, description="At most so many at a time.")
    starts: Count | None = Field(None, description="At most so many starts in any window.")
    per_s: Window | None = Field(None, description="How long that window is.")
    each: Each = Field("all", description="For whom it is counted; for each worker only `concurrency` can be.")


class Rules(Strict):
    """The limits of a gate, instead of those that stand there."""

    rules: list[Rule] = Field(max_length=MOST_RULES, description="All of them hold; none: no limit.")


class ScheduleQuery(Query):
    include: Literal["payload"] | None = Field(
        None, description="Tell the payload too; this takes the scope `operate` as well."
    )


class PreviewQuery(Query):
    count: int = Field(10, ge=1, le=MOST_PREVIEWED, description="How many due times.")


# --- what answers hold


class Schedules(BaseModel):
    """All schedules, by name."""

    schedules: list[ScheduleView]


class Due(BaseModel):
    at: str = Field(description="In UTC.")
    local: str = Field(description="By the wall clock of the schedule's time zone.")


class Preview(BaseModel):
    """The next due times; fewer than asked for when it ends before."""

    due: list[Due]


class Fired(BaseModel):
    job_id: str
    href: str = Field(description="Where the job is.")


class Limits(BaseModel):
    """What is limited, with its present use, by kind and name."""

    limits: list[Gate]


class Pauses(BaseModel):
    """What is paused, by kind and name."""

    pauses: list[Gate]
