"""Places that were kept for jobs which can't use them: they are given to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Float, and_, bindparam, case, exists, or_, select, update

from celadon.ledger import gates as rows
from celadon.ledger import waiting
from celadon.ledger.db import by
from celadon.ledger.gates import Group
from celadon.ledger.lines import Line
from celadon.ledger.tables import TENANT, in_state, jobs
from celadon.settings import settings
from celadon.states import State

BATCH = 500  # Places a release takes back at most.
KEPT_FOR = 3  # Times RESEND_AFTER_S: a place that nobody claimed by then is wanted by others.


_SOME_ARE_PAUSED = select(exists().where(rows.pausing())).scalar_subquery()  # Asked once; mostly none is.
_LATE = jobs.c.reserved_at < by(bindparam("b_late_s", type_=Float))
_IDLE = (
    select(
        jobs.c.id,
        jobs.c.queue,
        jobs.c.name,
        TENANT.label("tenant"),
        case((rows.stopped(), True), else_=False).label("is_paused"),
    )
    .where(
        jobs.c.reserved_at.is_not(None),
        in_state(State.QUEUED),
        or_(_LATE, and_(_SOME_ARE_PAUSED, rows.stopped())),
    )
    .order_by(jobs.c.reserved_at)
    .limit(BATCH)
)


def stuck(connection: Connection, lines: Sequence[Line]) -> dict[str, Group]:
    """Jobs, by id, that keep a place which they can't use: they are paused, or nobody takes them while others wait.

    A place at a name or a tenant may be used in another queue. At a queue all wait for the same workers, so there it is
    kept however long.
    """
    found = connection.execute(_IDLE, {"b_late_s": -KEPT_FOR * settings().resend_after_s}).all()
    kept = {row.id: Group(row.queue, row.name, row.tenant) for row in found}
    paused = {row.id for row in found if row.is_paused}
    pairs = [pair for line in lines for pair in line.pairs]
    late_groups = {group for job_id, group in kept.items() if job_id not in paused}
    wanted = {group for group in late_groups if _wanted_elsewhere(connection, group, lines, pairs)}
    return {job_id: group for job_id, group in kept.items() if job_id in paused or group in wanted}


def _wanted_elsewhere(
    connection: Connection, group: Group, lines: Sequence[Line], pairs: Sequence[tuple[str, str]]
) -> bool:
    """Whether jobs of another queue wait at a limit of the group's name or tenant."""
    others = [(queue, name) for queue, name in pairs if queue != group.queue]
    limited = {gate.id for line in lines for gate in line.before if gate.rules}
    if ("job", group.name) in limited and any(name == group.name for _, name in others):
        return True
    if not others or not group.tenant:
        return False
    of_tenant = rows.standing_before(connection, tenants=[group.tenant])
    return any(gate.rules for gate in of_tenant) and bool(waiting.of_tenants(connection, others, [group.tenant]))


def take_back(connection: Connection, lines: Sequence[Line]) -> set[Group]:
    """queued → waiting for those that can't use their place. This release passes over them: it is the others' turn."""
    found = stuck(connection, lines)
    if not found:
        return set()
    still = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(found), in_state(State.QUEUED), jobs.c.reserved_at.is_not(None))
        .order_by(jobs.c.id)
        .with_for_update(skip_locked=True)
    )
    back: dict[str, Any] = {"state": State.WAITING, "send_due": None, "reserved_at": None}
    connection.execute(update(jobs).where(jobs.c.id.in_(still)).values(**back))
    return set(found.values())
