"""Schedules as rows: the configuration that wins, what is due, and the one transaction that fires a due time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, update

from celadon import due
from celadon.ids import new_id
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
class Synced:
    """What a sync could not do or may not have been meant to do: schedules by name."""

    newer: list[str] = field(default_factory=list)  # Left as they are: a newer configuration made them.
    taken: list[str] = field(default_factory=list)  # Left: somebody has made one of that name by a call.
    busy: list[str] = field(default_factory=list)  # Left: somebody is at them just now. To be tried again.
    removed: list[str] = field(default_factory=list)  # No longer configured.
    disputed: list[str] = field(default_factory=list)  # Another configuration of this very generation said otherwise.


def entry_of(row: Any) -> Entry:
    """A row's facts as they were given."""
    return Entry(**{fact.name: getattr(row, fact.name) for fact in fields(Entry)})


def sync(entries: Sequence[Entry], generation: int) -> Synced:
    """Make the configured rows equal to `entries`, and leave rows of a newer generation alone.

    A schedule that is already there keeps its due times unless its rule changed, and a due time that has come stays
    due. One that is no longer configured stays as a removed row, so that a Beat with an older configuration does not
    bring it back. Nobody is waited for: a row that somebody else has locked, or changes meanwhile, is `busy`.
    """
    synced = Synced()
    wanted = {entry.name: entry for entry in entries}
    with begin() as connection:
        found = {row.name: row for row in connection.execute(select(schedules).order_by(schedules.c.name))}
        # In one order, so that two Beats can't deadlock.
        for name in sorted(wanted.keys() | {row.name for row in found.values() if row.source == "config"}):
            entry, old = wanted.get(name), found.get(name)
            if old is None:
                done = entry is None or _insert(connection, entry, generation)
            elif old.source != "config":
                synced.taken.append(name)
                continue
            elif old.generation > generation:
                synced.newer.append(name)
                continue
            elif _as_wanted(old, entry) and old.generation == generation:
                continue
            else:
                done = _change(connection, old, entry, generation)
                if done and not _as_wanted(old, entry):
                    if old.generation == generation:
                        synced.disputed.append(name)
                    if entry is None:
                        synced.removed.append(name)
            if not done:
                synced.busy.append(name)
    return synced


def _as_wanted(old: Any, entry: Entry | None) -> bool:
    """Whether the row says what the configuration does; None: nothing, and it is to be a removed one."""
    return bool(old.removed) if entry is None else not old.removed and entry_of(old) == entry


def _insert(connection: Connection, entry: Entry, generation: int) -> bool:
    """False: another was quicker, perhaps with another configuration."""
    new = {**entry.columns(), "generation": generation, "version": new_id(), **entry.from_now(clock(connection))}
    made = connection.execute(
        upsert(connection, schedules)
        .values(name=entry.name, source="config", enabled=True, **new)
        .on_conflict_do_nothing()
        .returning(schedules.c.name)
    )
    return made.first() is not None


def _change(connection: Connection, seen: Any, entry: Entry | None, generation: int) -> bool:
    """False: it has changed since it was `seen`, or is locked."""
    this = and_(schedules.c.name == seen.name, schedules.c.version == seen.version)
    old = connection.execute(select(schedules).where(this).with_for_update(skip_locked=True)).one_or_none()
    if old is None:
        return False
    new: dict[str, Any] = {"generation": generation, "version": new_id(), "removed": entry is None}
    if entry is not None:
        new |= entry.columns()
        now = clock(connection)
        come = old.enabled and old.next_due is not None and old.next_due <= now
        if old.removed or (entry_of(old).times != entry.times and not come):
            new |= entry.from_now(now)
    connection.execute(update(schedules).where(schedules.c.name == seen.name).values(**new))
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


MOST_SEEN = 1000  # Rows that a look reads, so that its cost is bounded. The next one goes on behind them.
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
    # In turn, and not the oldest first: those that can't be fired would be the oldest for ever.
    .order_by(schedules.c.name <= bindparam("turn"), schedules.c.name)
    .limit(MOST_SEEN)
)


def due_now(turn: str = "") -> Sequence[Any]:
    """Rows whose next due time has come, with the database's time as `now` and what became of the previous job.

    By name, those after `turn` first; no more than MOST_SEEN.
    """
    with reading() as connection:
        return connection.execute(_DUE, {"turn": turn}).all()


def overdue(seconds: float) -> int:
    """How many schedules came due so long ago, and nobody has fired them or left it out."""
    late = select(func.count()).select_from(schedules).where(fireable(), schedules.c.next_due <= by(-seconds))
    with reading() as connection:
        return int(connection.execute(late).scalar_one())


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
    unmoved.append(schedules.c.version == row.version)  # `following` and the job are of the rule that stands.
    if row.overlap != "allow":  # Nobody has run it by hand meanwhile.
        unmoved.append(schedules.c.last_job.is_not_distinct_from(row.last_job))
    # A row that another scheduler has locked is left to it: one that is frozen in the midst holds up no other schedule.
    free = select(schedules.c.name).where(*unmoved, fireable()).with_for_update(skip_locked=True)
    return bool(
        connection.execute(
            update(schedules).where(schedules.c.name.in_(free)).values(last_due=due_time, next_due=following, **more)
        ).rowcount
    )
