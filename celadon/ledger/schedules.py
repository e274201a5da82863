"""Schedules as rows: the configuration that wins, what is due, and the one transaction that fires a due time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, update

from celadon import due
from celadon.jobs import NewJob
from celadon.ledger.db import at, begin, by, clock, reading
from celadon.ledger.tables import jobs, schedules
from celadon.ledger.writing import insert_job, upsert
from celadon.states import FINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a schedule is to be, checked (celadon/plans.py)."""

    name: str
    job: str
    spec: Mapping[str, Any]  # The rule, as celadon/due has it.
    payload: Mapping[str, Any]
    queue: str | None = None
    missed: str = "latest"
    missed_max: int = 10
    overlap: str = "allow"
    jitter_s: float = 0.0
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def times(self) -> tuple[Any, ...]:
        """What its due times hang on."""
        return dict(self.spec), self.starts_at, self.ends_at

    def columns(self) -> dict[str, Any]:
        """Its row, but for what the schedule goes through."""
        return {
            "job": self.job,
            "spec": dict(self.spec),
            "payload": dict(self.payload),
            "queue": self.queue,
            "missed": self.missed,
            "missed_max": self.missed_max,
            "overlap": self.overlap,
            "jitter_s": self.jitter_s,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
        }

    def from_now(self, now: datetime) -> dict[str, Any]:
        """The columns by which its due times count from `now` on."""
        return {"last_due": now, "next_due": due.within(self.spec, now, self.starts_at, self.ends_at)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """Schedules of the configuration whose rows were left as they are, by name."""

    newer: Sequence[str] = ()  # A newer configuration made them.
    taken: Sequence[str] = ()  # Somebody has made one of that name by a call.


def entry_of(row: Any) -> Entry:
    """A row's facts as they were given."""
    return Entry(**{fact.name: getattr(row, fact.name) for fact in fields(Entry)})


def sync(entries: Sequence[Entry], generation: int) -> Left:
    """Make the configured rows equal to `entries`, and leave rows of a newer generation alone.

    A schedule that is already there keeps its due times unless its rule changed, and a due time that has come stays
    due. One that is no longer configured stays as a removed row, so that a Beat with an older configuration does not
    bring it back.
    """
    taken = []
    with begin() as connection:
        for entry in sorted(entries, key=lambda entry: entry.name):  # In one order, so that two Beats can't deadlock.
            if not _sync_one(connection, entry, generation):
                taken.append(entry.name)
        configured = and_(schedules.c.source == "config", schedules.c.generation <= generation)
        connection.execute(
            update(schedules)
            .where(configured, schedules.c.name.not_in([entry.name for entry in entries]))
            .values(removed=True, generation=generation)
        )
        newer = select(schedules.c.name).where(schedules.c.source == "config", schedules.c.generation > generation)
        return Left(newer=list(connection.execute(newer.order_by(schedules.c.name)).scalars()), taken=taken)


def _sync_one(connection: Connection, entry: Entry, generation: int) -> bool:
    """False: the name is taken by a schedule that was made by a call."""
    old = connection.execute(select(schedules).where(schedules.c.name == entry.name).with_for_update()).one_or_none()
    now = clock(connection)
    new = {**entry.columns(), "generation": generation, "removed": False}
    if old is None:
        connection.execute(
            upsert(connection, schedules)
            .values(name=entry.name, source="config", enabled=True, **new, **entry.from_now(now))
            .on_conflict_do_nothing()
        )
        return True
    if old.source != "config":
        return False
    if old.generation <= generation:
        come = old.enabled and old.next_due is not None and old.next_due <= now
        if old.removed or (entry_of(old).times != entry.times and not come):
            new |= entry.from_now(now)
        connection.execute(update(schedules).where(schedules.c.name == entry.name).values(**new))
    return True


def find(name: str) -> Any:
    """The schedule's row, or None."""
    with reading() as connection:
        return connection.execute(
            select(schedules).where(schedules.c.name == name, schedules.c.removed.is_(False))
        ).one_or_none()


def every() -> Sequence[Any]:
    """All rows that stand, by name."""
    with reading() as connection:
        return connection.execute(
            select(schedules).where(schedules.c.removed.is_(False)).order_by(schedules.c.name)
        ).all()


def fireable() -> Any:
    """SQL: nobody has paused or removed it."""
    return and_(schedules.c.enabled.is_(True), schedules.c.removed.is_(False))


_DUE = (
    select(
        schedules,
        at().label("now"),
        jobs.c.state.label("previous_state"),
        jobs.c.finished_at.label("previous_ended"),
        jobs.c.cancel_requested.label("previous_cancelled"),
    )
    # The previous job matters only to those that must not overlap with it. It may be gone from the table: it has ended.
    .outerjoin(jobs, and_(jobs.c.id == schedules.c.last_job, schedules.c.overlap != "allow"))
    .where(fireable(), schedules.c.next_due <= by())
    .order_by(schedules.c.next_due)
)


def due_now() -> Sequence[Any]:
    """Rows whose next due time has come, with the database's time as `now` and what became of the previous job."""
    with reading() as connection:
        return connection.execute(_DUE).all()


def previous_is_active(row: Any) -> bool:
    """Of a row of `due_now`: its previous job has not ended, and it must not overlap with it."""
    return row.previous_state is not None and row.previous_state not in FINAL


def fire(row: Any, seen_due: datetime | None, due_time: datetime, following: datetime | None, new: NewJob) -> bool:
    """Move the schedule on from `seen_due` to `following` and store its job for `due_time`, in one transaction.

    False: another scheduler fired it, or it has been changed since `row` was read. Raises IntegrityError if there is a
    job of that due time.
    """
    with begin() as connection:
        moved = _move_on(connection, row, seen_due, due_time, following, last_job=new.id)
        if moved:
            insert_job(connection, new)
    return moved


def has_fired(name: str, due_time: datetime) -> bool:
    """Whether there is a job of that due time."""
    with reading() as connection:
        job = select(jobs.c.id).where(jobs.c.schedule == name, jobs.c.due == due_time)
        return connection.execute(job).first() is not None


def leave_out(row: Any, seen_due: datetime | None, up_to: datetime, following: datetime | None) -> bool:
    """Move the schedule on without a job; False as with `fire`."""
    with begin() as connection:
        return _move_on(connection, row, seen_due, up_to, following)


def _move_on(
    connection: Connection,
    row: Any,
    seen_due: datetime | None,
    due_time: datetime,
    following: datetime | None,
    **more: Any,
) -> bool:
    unmoved = [schedules.c.name == row.name, schedules.c.next_due == seen_due, schedules.c.last_due < due_time]
    if row.overlap != "allow":  # Nobody has run it by hand meanwhile.
        unmoved.append(schedules.c.last_job.is_not_distinct_from(row.last_job))
    # A row that another scheduler has locked is left to it: one that is frozen in the midst holds up no other schedule.
    free = select(schedules.c.name).where(*unmoved, fireable()).with_for_update(skip_locked=True)
    return bool(
        connection.execute(
            update(schedules).where(schedules.c.name.in_(free)).values(last_due=due_time, next_due=following, **more)
        ).rowcount
    )
