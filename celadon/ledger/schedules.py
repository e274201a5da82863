"""Schedules as rows, and the one transaction that fires them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, select, update

from celadon.jobs import NewJob
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import schedules
from celadon.ledger.writing import insert_job, upsert


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A schedule as `celeryconfig.beat_schedule` names it."""

    name: str
    job: str
    spec: Mapping[str, Any]
    payload: Mapping[str, Any]
    queue: str | None
    next_due: datetime


def sync(entries: Sequence[Entry], generation: int, now: datetime) -> None:
    """Make the configured rows equal to `entries`. Rows of a newer generation are left alone.

    A schedule that is already there keeps its due times unless its rule changed.
    """
    with begin() as connection:
        for entry in entries:
            new: dict[str, Any] = {
                "job": entry.job,
                "spec": dict(entry.spec),
                "payload": dict(entry.payload),
                "queue": entry.queue,
                "source": "config",
                "generation": generation,
                "enabled": True,
            }
            old = connection.execute(
                select(schedules).where(schedules.c.name == entry.name).with_for_update()
            ).one_or_none()
            if old is None:
                connection.execute(
                    upsert(connection, schedules)
                    .values(name=entry.name, last_due=now, next_due=entry.next_due, **new)
                    .on_conflict_do_nothing()
                )
            elif old.source == "config" and old.generation <= generation:
                if old.spec != dict(entry.spec):
                    new["next_due"] = entry.next_due
                del new["enabled"]  # An operator may have turned it off.
                connection.execute(update(schedules).where(schedules.c.name == entry.name).values(**new))
        gone = and_(schedules.c.source == "config", schedules.c.generation <= generation)
        connection.execute(delete(schedules).where(gone, schedules.c.name.not_in([entry.name for entry in entries])))


def due() -> tuple[Sequence[Any], datetime]:
    """Schedules whose next due time has come, and the database's time."""
    with reading() as connection:
        now: datetime = connection.execute(select(at())).scalar_one()
        rows = connection.execute(
            select(schedules)
            .where(schedules.c.enabled.is_(True), schedules.c.next_due <= now)
            .order_by(schedules.c.next_due)
        ).all()
    return rows, now


def fire(name: str, due_time: datetime, following: datetime, new: NewJob) -> bool:
    """Move the schedule on and store its job, in one transaction. False: another scheduler fired this due time."""
    with begin() as connection:
        moved = connection.execute(
            update(schedules)
            .where(schedules.c.name == name, schedules.c.last_due < due_time, schedules.c.enabled.is_(True))
            .values(last_due=due_time, next_due=following)
        ).rowcount
        if moved:
            insert_job(connection, new)
    return bool(moved)
