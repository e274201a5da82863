"""Versions of the registration file, and the limits of the one that holds: the newest that a scheduler has.

docs/decisions/0020-the-newest-table-that-is-held.md says why it is found in this way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, or_, select, update

from celadon.ledger.db import at, begin, reading
from celadon.ledger.limits import FILE, sync_on
from celadon.ledger.tables import registrations, switches
from celadon.ledger.writing import upsert
from celadon.limits import Kind, Limit
from celadon.settings import settings

FORGET_AFTER_S = 30 * 86400  # A host that comes back later than that brings its file as a new one.


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What a scheduler is told that has said which version it has."""

    newest: str  # The digest of the version that holds.
    applied: bool  # The limits were set by this call.


def hold(digest: str, limits: Mapping[tuple[Kind, str], Sequence[Limit]], *, changed: bool) -> Held:
    """Say that this scheduler has a version of the file. If that is the newest of all that are had, its limits hold.

    changed: it had another one before. A version that nobody has said to have for PRESENCE_S is had by nobody, so it
    has to be said more often. Raises LedgerUnavailable.
    """
    with begin() as connection:
        fresh = {"last_seen": at(), **({"since": at()} if changed else {})}
        connection.execute(
            upsert(connection, registrations)
            .values(digest=digest, since=at(), last_seen=at())
            .on_conflict_do_update(index_elements=["digest"], set_=fresh)
        )
        had = (
            select(registrations.c.digest, registrations.c.applied)
            .where(registrations.c.last_seen > at(-settings().presence_s))
            .order_by(registrations.c.since.desc(), registrations.c.digest)
            .limit(1)
        )
        newest = connection.execute(had).one()
        if newest.digest != digest or newest.applied:
            return Held(newest=newest.digest, applied=False)
        sync_on(connection, limits, 0, source=FILE)
        connection.execute(update(registrations).values(applied=registrations.c.digest == digest))
        connection.execute(delete(registrations).where(registrations.c.last_seen < at(-FORGET_AFTER_S)))
    return Held(newest=digest, applied=True)


def any_had() -> bool:
    """Whether any version was ever had. Raises LedgerUnavailable."""
    with reading() as connection:
        return bool(connection.execute(select(exists(select(registrations.c.digest)))).scalar_one())


def limited() -> frozenset[str]:
    """The queues that the limits of a version stand of, or what an operator said instead. Raises LedgerUnavailable."""
    of_a_version = and_(switches.c.limits_source == FILE, switches.c.limits.is_not(None))
    decided = or_(of_a_version, switches.c.limits_source == "api")
    names = select(switches.c.name).where(switches.c.kind == "queue", decided)
    with reading() as connection:
        return frozenset(connection.execute(names).scalars())
