"""What an operator does to schedules, each in one transaction that writes down who did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from celadon.errors import InvalidOption, NotAllowed, UnknownSchedule
from celadon.ids import new_id
from celadon.jobs import NewJob
from celadon.ledger.bounded import command
from celadon.ledger.db import at, clock, reading
from celadon.ledger.schedules import Entry, previous_is_active
from celadon.ledger.tables import audit, jobs, schedules
from celadon.ledger.writing import insert_job, upsert


def add(entry: Entry, actor: str) -> Any:
    """Store a new schedule; returns its row. Raises NotAllowed if the name is taken, InvalidOption as `anew`."""
    with command("the schedule") as connection:
        # A row that the configuration has removed gives its name back.
        connection.execute(delete(schedules).where(schedules.c.name == entry.name, schedules.c.removed.is_(True)))
        new = {**entry.columns(), **anew(entry, clock(connection)), "version": new_id()}
        row = connection.execute(
            upsert(connection, schedules)
            .values(name=entry.name, source="api", **new)
            .on_conflict_do_nothing()
            .returning(*schedules.c)
        ).one_or_none()
        if row is None:
            raise NotAllowed(f"There is a schedule {entry.name!r} already; edit it, or give the new one another name")
        _note(connection, actor, "add schedule", entry.name)
    return row


def change(
    name: str,
    action: str,
    actor: str,
    made: Callable[[Any, datetime], Mapping[str, Any]],
    detail: Mapping[str, Any] | None = None,
) -> Any:
    """Give a schedule the columns that `made(row, now)` says; none: it stays. Returns its row. Raises UnknownSchedule.

    `made` is called before anything is locked, for it may call validators of the user's, and again if somebody has
    changed the schedule meanwhile.
    """
    while True:
        row, now = _look(name)
        columns = made(row, now)
        if not columns:
            return row
        with command("the schedule") as connection:
            changed = connection.execute(
                update(schedules).where(*_is_still(row)).values(**columns, version=new_id()).returning(*schedules.c)
            ).one_or_none()
            if changed is not None:
                _note(connection, actor, f"{action} schedule", name, detail)
                return changed


def run(name: str, actor: str, made: Callable[[Any], NewJob]) -> str:
    """Store the job that `made(row)` says, beside the due times; returns its id. Raises UnknownSchedule, NotAllowed.

    `made` is called as by `change`.
    """
    while True:
        seen, _ = _look(name)
        new = made(seen)
        with command("the schedule") as connection:
            row = connection.execute(select(schedules).where(*_is_still(seen)).with_for_update()).one_or_none()
            if row is None:
                continue
            _check_previous(connection, row)
            connection.execute(update(schedules).where(schedules.c.name == name).values(last_job=new.id))
            insert_job(connection, new)
            _note(connection, actor, "run schedule", name, {"job": new.id})
            return new.id


def _check_previous(connection: Connection, row: Any) -> None:
    """Raises NotAllowed for a schedule whose jobs may not overlap and whose previous one has not ended."""
    last = select(jobs.c.state.label("previous_state")).where(jobs.c.id == row.last_job)
    previous = connection.execute(last).one_or_none()
    if row.overlap != "allow" and previous is not None and previous_is_active(previous):
        raise NotAllowed(
            f"Job {row.last_job} of the schedule {row.name!r} is {previous.previous_state}, and its jobs may not "
            f"overlap (overlap={row.overlap!r}); wait for its end, or cancel it"
        )


def remove(name: str, actor: str) -> None:
    """Delete one that was made by a call. Raises UnknownSchedule, NotAllowed."""
    with command("the schedule") as connection:
        own(_of(name, connection.execute(_this(name).with_for_update()).one_or_none()))
        connection.execute(delete(schedules).where(schedules.c.name == name))
        _note(connection, actor, "remove schedule", name)


def anew(entry: Entry, now: datetime) -> dict[str, Any]:
    """The columns by which it counts from `now` on. Raises InvalidOption if it would never be due."""
    columns = entry.from_now(now)
    if columns["next_due"] is None:
        what, when = ("at", entry.spec["at"]) if "at" in entry.spec else ("ends_at", entry.ends_at)
        raise InvalidOption(
            f"{what}={when}: no due time is left until then; it is {now:%Y-%m-%d %H:%M:%S} UTC now", option=what
        )
    return columns


def own(row: Any) -> None:
    """Raises NotAllowed for a schedule of the configuration."""
    if row.source == "config":
        raise NotAllowed(
            f"The schedule {row.name!r} is named in celeryconfig.beat_schedule: change or remove it there, raise "
            "beat_generation, and restart Beat. Here it can be paused, resumed and run now"
        )


def _look(name: str) -> tuple[Any, datetime]:
    """The row as it is, and the database's time. Raises UnknownSchedule."""
    with reading() as connection:
        return _of(name, connection.execute(_this(name)).one_or_none()), clock(connection)


def _this(name: str) -> Select[Any]:
    return select(schedules).where(schedules.c.name == name, schedules.c.removed.is_(False))


def _of(name: str, row: Any) -> Any:
    if row is None:
        raise UnknownSchedule(f"There is no schedule {name[:200]!r}; `celadon schedules list` shows them", name=name)
    return row


def _is_still(row: Any) -> tuple[Any, ...]:
    """SQL: nobody has changed it since."""
    return schedules.c.name == row.name, schedules.c.version == row.version, schedules.c.removed.is_(False)


def _note(connection: Connection, actor: str, action: str, name: str, detail: Any = None) -> None:
    connection.execute(
        audit.insert().values(id=new_id(), at=at(), actor=actor, action=action, subject=name, detail=detail)
    )
