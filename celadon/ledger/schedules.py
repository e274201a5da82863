"""Schedules as rows, and the one transaction that fires them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, update

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


def sync(entries: Sequence[Entry], generation: int, now: datetime) -> list[str]:
    """Make the configured rows equal to `entries`. Rows of a newer generation are left alone; returns their names.

    A schedule that is already there keeps its due times unless its rule changed. One that is no longer configured
    stays as a removed row, so that a Beat with an older configuration does not bring it back.
    """
    with begin() as connection:
        for entry in sorted(entries, key=lambda entry: entry.name):  # In one order, so that two Beats can't deadlock.
            _sync_one(connection, entry, generation, now)
        configured = and_(schedules.c.source == "config", schedules.c.generation <= generation)
        connection.execute(
            update(schedules)
            .where(configured, schedules.c.name.not_in([entry.name for entry in entries]))
            .values(removed=True, generation=generation)
        )
        newer = select(schedules.c.name).where(schedules.c.source == "config", schedules.c.generation > generation)
        return list(connection.execute(newer.order_by(schedules.c.name)).scalars())


def _sync_one(connection: Connection, entry: Entry, generation: int, now: datetime) -> None:
    new: dict[str, Any] = {
        "job": entry.job,
        "spec": dict(entry.spec),
        "payload": dict(entry.payload),
        "queue": entry.queue,
        "generation": generation,
        "removed": False,
    }
    anew = {"last_due": now, "next_due": entry.next_due}
    old = connection.execute(select(schedules).where(schedules.c.name == entry.name).with_for_update()).one_or_none()
    if old is None:
        connection.execute(
            upsert(connection, schedules)
            .values(name=entry.name, source="config", enabled=True, **new, **anew)
            .on_conflict_do_nothing()
        )
    elif old.source == "config" and old.generation <= generation:
        if old.removed or old.spec != dict(entry.spec):
            new |= anew
        connection.execute(update(schedules).where(schedules.c.name == entry.name).values(**new))


def find(name: str) -> Any:
    """The schedule's row, or None."""
    with reading() as connection:
        return connection.execute(select(schedules).where(schedules.c.name == name)).one_or_none()


def due() -> tuple[Sequence[Any], datetime]:
    """Schedules whose next due time has come, and the database's time."""
    with reading() as connection:
        now: datetime = connection.execute(select(at())).scalar_one()
        rows = connection.execute(
            select(schedules)
            .where(schedules.c.enabled.is_(True), schedules.c.removed.is_(False), schedules.c.next_due <= now)
            .order_by(schedules.c.next_due)
        ).all()
    return rows, now


def fire(row: Any, due_time: datetime, following: datetime, new: NewJob) -> bool:
    """Move the schedule on and store its job, in one transaction.

    False: another scheduler fired it, or its rule has changed since `row` was read.
    """
    with begin() as connection:
        moved = connection.execute(
            update(schedules)
            .where(
                schedules.c.name == row.name,
                schedules.c.next_due == row.next_due,
                schedules.c.last_due < due_time,
                schedules.c.enabled.is_(True),
                schedules.c.removed.is_(False),
            )
            .values(last_due=due_time, next_due=following)
        ).rowcount
        if moved:
            insert_job(connection, new)
    return bool(moved)
