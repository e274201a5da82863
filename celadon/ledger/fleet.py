"""How delegated queues are doing, in a handful of statements for all of them at once: a thousand cost what one does.

Bounded, whatever is in the ledger: each count looks at MOST index entries at most, each age at OLDEST_OF jobs, and each
error at one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    CompoundSelect,
    Connection,
    String,
    case,
    column,
    func,
    literal,
    or_,
    select,
    union_all,
    values,
)

from celadon.ledger.db import Instant, at, by, clock, looking
from celadon.ledger.gates import pausing
from celadon.ledger.tables import deliveries, in_state, jobs, starts, switches, workers
from celadon.limits import Limit, parsed
from celadon.settings import settings
from celadon.states import State

MOST = 10_000  # Of a queue's jobs in one state; more are told as so many.
OLDEST_OF = (
    1_000  # The oldest is looked for among so many of a queue's jobs in one state: those that were stored first.
)
LATELY_S = 60.0  # The pace is that of the last minute,
PACE_OF = 10_000  # or of so many jobs that ended last.
STALLED_FOR_S = 3600.0  # A worker that has been silent for longer was stopped, and has not said so.


@dataclass(frozen=True, kw_only=True, slots=True)
class LastError:
    """Of the deliveries of a queue the last one that failed."""

    at: datetime
    job_id: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """A worker of the fleet."""

    id: str
    host: str
    concurrency: int
    queues: frozenset[str]
    silent_s: float
    lost_slots: int
    stopping: bool

    @property
    def stalled(self) -> bool:
        """It was not heard of for PRESENCE_S, or has slots whose jobs never came back."""
        return self.silent_s > settings().presence_s or self.lost_slots > 0

    @property
    def consumes(self) -> bool:
        return self.silent_s <= settings().presence_s and not self.stopping


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """What the ledger knows of the fleet and its queues, all as of one moment."""

    now: datetime
    counts: Mapping[str, Mapping[State, int]]
    oldest: Mapping[str, datetime]  # Since when the first of those that may run waits.
    pauses: Mapping[str, tuple[str | None, datetime | None]]  # Reason and end.
    limits: Mapping[str, Sequence[Limit]]
    starts: Mapping[str, int]  # In the window of each rate.
    pace: Mapping[str, float]  # Jobs that ended, per second.
    errors: Mapping[str, LastError]
    workers: Sequence[Present] = field(default=())


def look(queues: Collection[str], lane: str, deliver: str) -> Fleet:
    """Look at these queues and the workers of a lane. deliver: the name of the queues' jobs. Raises LedgerUnavailable.

    Of every other queue that holds jobs is told too how many: of those that are in no registration file any more.
    """
    with looking() as connection:
        now = clock(connection)
        standing = connection.execute(_STANDING).all()
        limits = {row.name: parsed(row.limits) for row in standing if row.limits and row.name in queues}
        return Fleet(
            now=now,
            counts=_counts(connection),
            oldest=_oldest(connection),
            pauses={row.name: (row.reason, row.until) for row in standing if row.pausing},
            limits=limits,
            starts=_starts(connection, limits, now),
            pace=_pace(connection, now, deliver),
            errors=_errors(connection),
            workers=_workers(connection, lane),
        )


_STANDING = select(switches, case((pausing(), True), else_=False).label("pausing")).where(
    switches.c.kind == "queue", or_(switches.c.limits.is_not(None), switches.c.paused.is_(True))
)


def _there() -> CTE:
    """The queues that hold jobs: from one to the next in `jobs_by_queue`, so a step for each, and one row without."""
    first = select(select(jobs.c.queue).order_by(jobs.c.queue).limit(1).scalar_subquery().label("queue"))
    there = first.cte("there", recursive=True)
    following = select(jobs.c.queue).where(jobs.c.queue > there.c.queue).correlate(there).order_by(jobs.c.queue)
    return there.union_all(select(following.limit(1).scalar_subquery()).where(there.c.queue.is_not(None)))


_THERE = _there()


def _counts_of(most: int) -> CompoundSelect[Any]:
    """How many jobs each queue has in each state, counted no further than `most`."""

    def many(state: State) -> Any:
        here = select(literal(1).label("one")).where(jobs.c.queue == _THERE.c.queue, in_state(state))
        counted = select(func.count()).select_from(here.correlate(_THERE).limit(most).subquery())
        return counted.scalar_subquery().label("jobs")

    there = _THERE.c.queue.is_not(None)
    return union_all(
        *(select(_THERE.c.queue, literal(state.value).label("state"), many(state)).where(there) for state in State)
    )


_COUNTS = _counts_of(MOST)


def _counts(connection: Connection) -> dict[str, dict[State, int]]:
    made: dict[str, dict[State, int]] = {}
    for queue, state, many in connection.execute(_COUNTS):
        made.setdefault(queue, {})[State(state)] = many
    return made


def _oldest(connection: Connection) -> dict[str, datetime]:
    """Of the jobs that could run, were there room: since when the one that is first waits.

    That need not be the one that was stored first, which may have been tried and have become due again since.
    """
    since = case((jobs.c.run_at > jobs.c.created_at, jobs.c.run_at), else_=jobs.c.created_at).label("since")
    found: dict[str, datetime] = {}
    for state in (State.WAITING, State.QUEUED):
        here = select(since).where(jobs.c.queue == _THERE.c.queue, in_state(state)).correlate(_THERE)
        some = here.order_by(jobs.c.created_at).limit(OLDEST_OF).subquery()
        least = select(func.min(some.c.since)).scalar_subquery()
        for queue, waits_since in connection.execute(select(_THERE.c.queue, least)):
            if waits_since is not None:
                found[queue] = min(waits_since, found.get(queue, waits_since))
    return found


def _starts(connection: Connection, limits: Mapping[str, Sequence[Limit]], now: datetime) -> dict[str, int]:
    rates = [
        (name, now - timedelta(seconds=rule.per_s))
        for name, rules in limits.items()
        for rule in rules
        if rule.per_s is not None
    ]
    if not rates:
        return {}
    asked = values(column("queue", String), column("since", Instant), name="rates").data(rates).cte("rates")
    here = select(literal(1).label("one")).where(starts.c.queue == asked.c.queue, starts.c.at > asked.c.since)
    many = select(func.count()).select_from(here.correlate(asked).limit(MOST).subquery()).scalar_subquery()
    found: dict[str, int] = {}
    for queue, begun in connection.execute(select(asked.c.queue, many)):
        found[queue] = max(begun, found.get(queue, 0))
    return found


def _pace(connection: Connection, now: datetime, deliver: str) -> dict[str, float]:
    """How many jobs of each queue end in a second, by those that ended last."""
    pace: dict[str, float] = {}
    for states in ((State.SUCCEEDED, State.CANCELLED), (State.DEAD,)):  # As the indexes have them.
        ended = select(jobs.c.queue, jobs.c.finished_at).where(
            jobs.c.name == deliver, in_state(*states), jobs.c.finished_at > by(-LATELY_S)
        )
        last = ended.order_by(jobs.c.finished_at.desc()).limit(PACE_OF).subquery()
        counted = select(last.c.queue, func.count(), func.min(last.c.finished_at)).group_by(last.c.queue)
        rows = connection.execute(counted).all()
        within_s = LATELY_S
        if sum(many for _, many, _ in rows) >= PACE_OF:
            # More ended than are looked at: in a shorter time, which is the same for all queues.
            within_s = max((now - min(since for *_, since in rows)).total_seconds(), 0.001)
        for queue, many, _ in rows:
            pace[queue] = pace.get(queue, 0.0) + many / within_s
    return pace


def _errors(connection: Connection) -> dict[str, LastError]:
    """The later of the last delivery that failed, and of the end of the job that was stored last of the dead."""
    last = (
        select(deliveries.c.job_id)
        .where(deliveries.c.queue == _THERE.c.queue)
        .correlate(_THERE)
        .order_by(deliveries.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    failed = select(_THERE.c.queue, last.label("id")).subquery()
    dead = select(jobs.c.id).where(jobs.c.queue == _THERE.c.queue, in_state(State.DEAD)).correlate(_THERE)
    newest = dead.order_by(jobs.c.created_at.desc()).limit(1).scalar_subquery()
    died = select(_THERE.c.queue, newest.label("id")).subquery()
    both = union_all(
        select(failed.c.queue, deliveries.c.at, deliveries.c.job_id, deliveries.c.verdict).join(
            deliveries, deliveries.c.job_id == failed.c.id
        ),
        select(died.c.queue, jobs.c.finished_at, jobs.c.id, jobs.c.error_message).join(jobs, jobs.c.id == died.c.id),
    )
    made: dict[str, LastError] = {}
    for queue, when, job_id, message in connection.execute(both):
        if when is not None and (queue not in made or when > made[queue].at):
            made[queue] = LastError(at=when, job_id=job_id, message=message or "")
    return made


def _workers(connection: Connection, lane: str) -> list[Present]:
    lately = select(workers, at().label("now")).where(workers.c.lane == lane, workers.c.last_seen > at(-STALLED_FOR_S))
    return [
        Present(
            id=row.id,
            host=row.host,
            concurrency=row.concurrency,
            queues=frozenset(row.queues),
            silent_s=(row.now - row.last_seen).total_seconds(),
            lost_slots=row.lost_slots,
            stopping=row.stopping,
        )
        for row in connection.execute(lately.order_by(workers.c.started_at))
    ]
