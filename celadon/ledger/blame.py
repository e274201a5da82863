"""Who is to blame when something died with jobs in it: the job that did it, and never a bystander.

A first death only makes suspects: each of its jobs runs next in a process of its own (`quarantine`), all at once. If
several suspects die together, so that nobody can say which of them did it, each runs next as the only job of its worker
(`exclusive`). A job is convicted where it was the only one that can have done it, and at CRASH_LIMIT it is dead.

What dies again and again with the same exclusive suspect in it, never it alone, convicts it too, at a higher limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, exists, or_, select

from celadon.ledger.claims import boot_of
from celadon.ledger.db import at
from celadon.ledger.tables import attempts, in_state, jobs, workers
from celadon.settings import settings
from celadon.states import Outcome, State

TOGETHER_LIMIT = 3  # Times CRASH_LIMIT: deaths that others can have done as well, in a row.
_BY_LEASE = "its lease ran out"


class Death(Enum):
    """What is known of the end of the process that ran a job."""

    LEDGER_AWAY = f"{_BY_LEASE} while the ledger was away"  # Nobody need have died at all.
    STOPPING = f"{_BY_LEASE} as its worker was stopping"  # Whoever stopped it lost patience.
    UNSEEN = _BY_LEASE  # The whole worker, or its host: everything in it is gone.
    BESIDE = f"{_BY_LEASE}, and those of other jobs of its worker"  # One of them may have done it.
    TOGETHER = f"{_BY_LEASE} as others fell silent too"  # Something from outside killed a part of the fleet.
    IN_COMPANY = "its process was killed beside others"  # Where memory is short the kernel kills any of them.
    OWN = "its process died"  # Seen by its worker, which lives: the job's own doing.


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a job is held for, and how it is to run next."""

    guilty: bool
    counts: bool  # As one of the deaths of which too many are enough, whoever did each.
    quarantine: bool
    exclusive: bool


def judge(death: Death, *, quarantine: bool, exclusive: bool) -> Verdict:
    """The verdict on one job that ran as `quarantine` and `exclusive` say when its process ended."""
    if death in (Death.LEDGER_AWAY, Death.STOPPING):
        return Verdict(guilty=False, counts=False, quarantine=quarantine, exclusive=exclusive)
    guilty = death is Death.OWN or (exclusive and death is Death.UNSEEN)
    one_of_several = not guilty and (quarantine or death is Death.IN_COMPANY)
    return Verdict(guilty=guilty, counts=exclusive, quarantine=True, exclusive=exclusive or one_of_several)


def last_of(connection: Connection, job_id: str, worker: str) -> Death:
    """How the worker of an exclusive suspect died, of which nothing is known but that the lease ran out."""
    here = select(workers.c.last_seen, workers.c.stopping).where(workers.c.id == boot_of(worker))
    seen = connection.execute(here).one_or_none()
    if seen is not None and seen.stopping:
        return Death.STOPPING
    if seen is not None and _died_together(connection, boot_of(worker), seen.last_seen):
        return Death.TOGETHER
    return Death.BESIDE if _was_beside(connection, job_id, boot_of(worker)) else Death.UNSEEN


def _was_beside(connection: Connection, job_id: str, boot: str) -> bool:
    """Whether another job was in that worker when it died, one that has not cleared its name by a run since."""
    still = exists().where(
        in_state(State.RUNNING), jobs.c.id != job_id, jobs.c.claimed_by.startswith(f"{boot}:", autoescape=True)
    )
    recovered = exists().where(
        jobs.c.quarantine,
        jobs.c.id != job_id,
        attempts.c.job_id == jobs.c.id,
        attempts.c.outcome == Outcome.CRASHED.value,
        attempts.c.worker.startswith(f"{boot}:", autoescape=True),
        attempts.c.error.startswith(_BY_LEASE),
    )
    return bool(connection.execute(select(or_(still, recovered))).scalar())


def _died_together(connection: Connection, boot: str, last: datetime) -> bool:
    """Whether another process of the fleet fell silent at the same moment, one with nothing in it to suspect.

    Then a host went down, or somebody killed the fleet: no job did that, or one that takes its host along.
    """
    silence_s = 2 * settings().renew_s
    silent = connection.execute(
        select(workers.c.id, workers.c.last_seen).where(workers.c.id != boot, workers.c.last_seen < at(-silence_s))
    ).all()
    others = {row.id for row in silent if abs((row.last_seen - last).total_seconds()) <= silence_s}
    return bool(others and others - _held_suspects(connection))


def _held_suspects(connection: Connection) -> set[str]:
    """The workers that have died with one of the present exclusive suspects in them, or run one."""
    of_suspects = select(jobs.c.id).where(jobs.c.quarantine, jobs.c.exclusive)
    crashed = select(attempts.c.worker).where(
        attempts.c.job_id.in_(of_suspects), attempts.c.outcome == Outcome.CRASHED.value
    )
    held = select(jobs.c.claimed_by).where(jobs.c.quarantine, jobs.c.exclusive)
    return {boot_of(name) for name in connection.execute(crashed.union(held)).scalars() if name}
