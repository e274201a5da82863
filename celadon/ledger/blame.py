"""Who is to blame when something died with jobs in it: the job that did it, and never a bystander.

A first death only makes suspects: each of its jobs runs next in a process of its own (`quarantine`), all at once. If
several suspects die together, so that nobody can say which of them did it, each runs next as the only suspect of its
worker (`exclusive`). A job is convicted where it was the only one that can have done it, and at CRASH_LIMIT it is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, select

from celadon.ledger.claims import boot_of
from celadon.ledger.db import at
from celadon.ledger.tables import attempts, jobs, workers
from celadon.settings import settings
from celadon.states import Outcome


class Death(Enum):
    """What is known of the end of the process that ran a job."""

    LEDGER_AWAY = "its lease ran out while the ledger was away"  # Nobody need have died at all.
    UNSEEN = "its lease ran out"  # The whole worker, or its host: everything in it is gone.
    TOGETHER = "its lease ran out as others fell silent too"  # Something from outside killed a part of the fleet.
    IN_COMPANY = "its process was killed beside others"  # Where memory is short the kernel kills any of them.
    OWN = "its process died"  # Seen by its worker, which lives: the job's own doing.


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a job is held for, and how it is to run next."""

    guilty: bool
    quarantine: bool
    exclusive: bool


def judge(death: Death, *, quarantine: bool, exclusive: bool) -> Verdict:
    """The verdict on one job that ran as `quarantine` and `exclusive` say when its process ended."""
    if death is Death.LEDGER_AWAY:
        return Verdict(guilty=False, quarantine=quarantine, exclusive=exclusive)
    guilty = death is Death.OWN or (exclusive and death in (Death.UNSEEN, Death.IN_COMPANY))
    one_of_several = not guilty and (quarantine or death is Death.IN_COMPANY)
    return Verdict(guilty=guilty, quarantine=True, exclusive=exclusive or one_of_several)


def died_together(connection: Connection, worker: str) -> bool:
    """Whether another process of the fleet fell silent at the same moment, one with nothing in it to suspect.

    Then a host went down, or somebody killed the fleet: no job did that.
    """
    boot, silence_s = boot_of(worker), 2 * settings().renew_s
    last = connection.execute(select(workers.c.last_seen).where(workers.c.id == boot)).scalar()
    if last is None:
        return False
    silent = connection.execute(
        select(workers.c.id, workers.c.last_seen).where(
            workers.c.id != boot, workers.c.stopping.is_(False), workers.c.last_seen < at(-silence_s)
        )
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
