"""What is left behind by `make demo-delegation`: in the ledger, and in the notes of the services."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sqlalchemy import func, select

from celadon.ledger.db import reading
from celadon.ledger.tables import attempts, jobs
from celadon.states import Outcome
from deploy.demo_delegation_features import EFFECT, noted
from deploy.demo_delegation_report import Ended


def unended(of: int, *, but: str | None = None) -> int:
    """How many of so many jobs have not ended. but: a queue whose jobs are not among them."""
    query = select(func.count()).where(jobs.c.finished_at.is_not(None))
    with reading() as connection:
        return of - int(connection.execute(query.where(jobs.c.queue != but) if but else query).scalar_one())


def ended() -> list[Ended]:
    """Every job, as it stands now."""
    mine = (attempts.c.job_id == jobs.c.id, attempts.c.outcome == Outcome.FAILED)
    failed = select(func.count()).where(*mine).scalar_subquery().label("failed")
    columns = (jobs.c.id, jobs.c.queue, jobs.c.state, jobs.c.created_at, jobs.c.finished_at)
    with reading() as connection:
        rows = connection.execute(select(*columns, failed)).all()
    return [
        Ended(
            id=row.id,
            queue=row.queue,
            state=row.state,
            failed=row.failed,
            seconds=(row.finished_at - row.created_at).total_seconds() if row.finished_at else None,
        )
        for row in rows
    ]


def effects(home: Path, services: tuple[str, ...], journal: Path) -> Counter[str]:
    """How many effects each job had. journal: of the service in Node, which notes what it has done; if there is one."""
    counted: Counter[str] = Counter()
    for service in services:
        counted += noted(home, service, EFFECT)
    for line in journal.read_text().splitlines() if journal.exists() else []:
        note = json.loads(line) if line else {}
        if note.get("state") == "done" and note["answer"]["success"]:
            counted[note["jobId"]] += 1
    return counted
