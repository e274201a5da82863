"""Which queued jobs the broker is to be told of, first or again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import String, and_, case, func, literal_column, or_, select, text, update

from celadon.ledger.db import Instant, at, begin, by, clock, reading
from celadon.ledger.tables import in_state, jobs, switches
from celadon.settings import settings
from celadon.states import State

_NONE: Any = literal_column("0")  # In the words of the partial indexes, see `in_state`.
RESEND_CAP_S = 60.0  # A job that is sent again and again is sent at most once a minute.


class ToSend(NamedTuple):
    job_id: str
    name: str
    queue: str


def switched_off() -> Any:
    """SQL: operators turned the broker off for the job's queue or name."""
    return (
        select(1)
        .where(
            switches.c.use_broker.is_(False),
            or_(
                and_(switches.c.kind == "queue", switches.c.name == jobs.c.queue),
                and_(switches.c.kind == "job", switches.c.name == jobs.c.name),
            ),
        )
        .correlate(jobs)
        .exists()
    )


def take_unsent(limit: int = 200) -> list[ToSend]:
    """Jobs that came into `queued` without being sent: promoted, recovered, given back, released."""
    return _take(jobs.c.sends == _NONE, limit)


def take_overdue(queue: str, limit: int) -> list[ToSend]:
    """Jobs of one queue that were sent, and that nobody has claimed in time. Backs off with each sending."""
    return _take(and_(jobs.c.sends > _NONE, jobs.c.queue == queue), limit)


def _take(which: Any, limit: int) -> list[ToSend]:
    # The next time stands before the sending: a sender that dies in between costs a delay, never a storm.
    wait = settings().resend_after_s
    backoff = case(*((jobs.c.sends == n, min(wait * 2**n, RESEND_CAP_S)) for n in range(5)), else_=RESEND_CAP_S)
    with begin() as connection:
        due = (
            select(jobs.c.id)
            .where(in_state(State.QUEUED), jobs.c.send_due <= by(), which, ~switched_off())
            .order_by(jobs.c.send_due)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(due))
            .values(send_due=at(backoff), sends=jobs.c.sends + 1)
            .returning(jobs.c.id, jobs.c.name, jobs.c.queue)
        ).all()
    return [ToSend(row.id, row.name, row.queue) for row in sorted(rows, key=lambda row: row.id)]


def not_sent(ids: list[str], again_in_s: float) -> None:
    """The broker went away in the middle of a batch: these are due again soon, as if never taken."""
    with begin() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids), jobs.c.state == State.QUEUED)
            .values(send_due=at(again_in_s), sends=0)
        )


# It jumps from queue to queue in `jobs_sent`: a backlog costs a look no more than a handful.
_OVERDUE_QUEUES = text("""
    WITH RECURSIVE queues(queue) AS (
        SELECT (SELECT queue FROM jobs WHERE state = 'queued' AND sends > 0 ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT (SELECT jobs.queue FROM jobs
                WHERE state = 'queued' AND sends > 0 AND jobs.queue > queues.queue ORDER BY jobs.queue LIMIT 1)
        FROM queues WHERE queues.queue IS NOT NULL
    )
    SELECT queue, (SELECT send_due FROM jobs WHERE state = 'queued' AND sends > 0 AND jobs.queue = queues.queue
                   ORDER BY send_due LIMIT 1) AS send_due
    FROM queues WHERE queue IS NOT NULL
""").columns(queue=String, send_due=Instant)


def overdue_queues() -> list[str]:
    """Queues in which some job waits to be sent again."""
    with reading() as connection:
        now = clock(connection)
        return [row.queue for row in connection.execute(_OVERDUE_QUEUES) if row.send_due and row.send_due <= now]


def depth(queue: str, most: int) -> int:
    """How many jobs are queued there, counted no further than `most`."""
    with reading() as connection:
        some = select(1).where(in_state(State.QUEUED), jobs.c.queue == queue).limit(most).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def running_lately(queue: str, seconds: float) -> int:
    """How many jobs of the queue run that were claimed in the last `seconds`."""
    with reading() as connection:
        lately = select(func.count()).where(
            jobs.c.state == State.RUNNING, jobs.c.queue == queue, jobs.c.claimed_at > at(-seconds)
        )
        return int(connection.execute(lately).scalar_one())


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What waits to be run."""

    count: int
    oldest_s: float  # How long the oldest has been queued.


def backlog() -> Backlog:
    """Queued jobs of all queues. It reads every queued row, so it is asked only while the broker is away."""
    with reading() as connection:
        queued = select(func.count(), func.min(jobs.c.queued_at), at()).where(jobs.c.state == State.QUEUED)
        count, oldest, now = connection.execute(queued).one()
    return Backlog(count=count, oldest_s=(now - oldest).total_seconds() if oldest else 0.0)
