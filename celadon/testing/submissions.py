"""What was submitted, as the ledger has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from celadon.ledger.db import reading
from celadon.ledger.tables import jobs, keys
from celadon.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedJob:
    """A job that was submitted, and is in the ledger."""

    job_id: str
    name: str
    payload: Mapping[str, Any]  # In its JSON form, with the defaults of what was left out.
    queue: str
    key: str | None
    run_at: datetime | None  # When it is due: as it was submitted, or for its next try. None: at once.
    expires_at: datetime | None
    priority: int
    tenant: str | None
    state: State  # Now.

    def __str__(self) -> str:
        facts = {"key": self.key, "run_at": self.run_at, "priority": self.priority or None, "tenant": self.tenant}
        more = "".join(f" {name}={value}" for name, value in facts.items() if value is not None)
        return f"{self.name} {dict(self.payload)} on {self.queue!r}{more}, {self.state}"


def submitted(name: str | None = None) -> list[SubmittedJob]:
    """What was submitted, in order: all of it, or the jobs of one name."""
    query = select(jobs, keys.c.key).outerjoin(keys, keys.c.job_id == jobs.c.id).order_by(jobs.c.id)
    with reading() as connection:
        rows = connection.execute(query if name is None else query.where(jobs.c.name == name)).all()
    return [
        SubmittedJob(
            job_id=row.id,
            name=row.name,
            payload=row.payload,
            queue=row.queue,
            key=row.key,
            run_at=row.run_at,
            expires_at=row.expires_at,
            priority=row.priority,
            tenant=row.tenant,
            state=State(row.state),
        )
        for row in rows
    ]


def those(found: Sequence[SubmittedJob], facts: Mapping[str, Any]) -> list[SubmittedJob]:
    """Those that have all the facts; a fact that is None was not asked for."""
    asked = {name: value for name, value in facts.items() if value is not None}
    return [one for one in found if all(getattr(one, name) == value for name, value in asked.items())]
