"""Who waits: groups of waiting jobs and the next of each, found by jumping from one to the next in `jobs_waiting`.

A hundred thousand jobs that wait cost a look no more than a handful: it reads an entry for each group, not each job.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    TextClause,
    bindparam,
    column,
    exists,
    literal_column,
    or_,
    select,
    text,
    true,
    values,
)

from celadon.ledger.db import at
from celadon.ledger.gates import Group
from celadon.ledger.tables import TENANT, in_state, jobs
from celadon.states import State

SHAPES = 256  # Statements that are kept, each with its number of parameters: building one costs more than running it.

_PAIRS = text("""
    WITH RECURSIVE
    queues(queue) AS (
        SELECT (SELECT queue FROM jobs WHERE state = 'waiting' ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT (SELECT jobs.queue FROM jobs WHERE state = 'waiting' AND jobs.queue > queues.queue
                ORDER BY jobs.queue LIMIT 1)
        FROM queues WHERE queues.queue IS NOT NULL
    ),
    pairs(queue, name) AS (
        SELECT queue, (SELECT name FROM jobs WHERE state = 'waiting' AND jobs.queue = queues.queue
                       ORDER BY name LIMIT 1)
        FROM queues WHERE queue IS NOT NULL
        UNION ALL
        SELECT queue, (SELECT jobs.name FROM jobs WHERE state = 'waiting' AND jobs.queue = pairs.queue
                       AND jobs.name > pairs.name ORDER BY jobs.name LIMIT 1)
        FROM pairs WHERE pairs.name IS NOT NULL
    )
    SELECT queue, name FROM pairs WHERE name IS NOT NULL
""")


def pairs(connection: Connection) -> list[tuple[str, str]]:
    """The (queue, name) of all that waits."""
    return [(row.queue, row.name) for row in connection.execute(_PAIRS)]


def groups(connection: Connection, of: Sequence[tuple[str, str]], after: str, most: int) -> list[Group]:
    """The groups of these (queue, name), a tenant after the other, the one after `after` first. At most `most`."""
    found = _tenants(connection, of, "> :low", {"low": after}, most)
    if len(found) < most:
        found += _tenants(connection, of, ">= :low", {"low": "", "high": after}, most - len(found))
    return found


def _tenants(
    connection: Connection, of: Sequence[tuple[str, str]], first: str, bounds: dict[str, str], most: int
) -> list[Group]:
    """Those whose tenant is `first` or follows it, up to `high`, in the database's own order."""
    bound = {**bounds, **_bound("pair", of), "most": most}
    found = connection.execute(_scan(len(of), first, "high" in bounds), bound)
    return [Group(queue, name, row.tenant) for row in found for queue, name in (of[row.pair],)]


@lru_cache(maxsize=SHAPES)
def _scan(pairs: int, first: str, bounded: bool) -> TextClause:
    tenant = "coalesce(jobs.tenant, '')"
    upto = f"AND {tenant} <= :high" if bounded else ""
    scans, looks = [], []
    for number in range(pairs):
        pair = f"jobs.queue = :pair_{number}_0 AND jobs.name = :pair_{number}_1"
        here = f"FROM jobs WHERE state = 'waiting' AND {pair} {upto}"
        scans.append(f"""
            scan{number}(tenant, place) AS (
                SELECT (SELECT {tenant} {here} AND {tenant} {first} ORDER BY {tenant} LIMIT 1), 1
                UNION ALL
                SELECT (SELECT {tenant} {here} AND {tenant} > scan{number}.tenant ORDER BY {tenant} LIMIT 1), place + 1
                FROM scan{number} WHERE scan{number}.tenant IS NOT NULL AND place < :most
            )""")
        looks.append(f"SELECT {number} AS pair, tenant FROM scan{number} WHERE tenant IS NOT NULL")
    return text(f"WITH RECURSIVE {','.join(scans)} {' UNION ALL '.join(looks)} ORDER BY tenant LIMIT :most")


def of_tenants(connection: Connection, of: Sequence[tuple[str, str]], tenants: Sequence[str]) -> list[Group]:
    """The groups of these (queue, name) and of these tenants, a tenant after the other."""
    if not of or not tenants:
        return []
    bound = {**_bound("pair", of), **_bound("of", [(tenant,) for tenant in tenants])}
    found = connection.execute(_of_tenants(len(of), len(tenants)), bound)
    return [Group(row.queue, row.name, row.tenant) for row in found]


@lru_cache(maxsize=SHAPES)
def _of_tenants(pairs: int, tenants: int) -> Select[Any]:
    asked = _table("asked", "pair", pairs, "queue", "name")
    wanted = _table("wanted", "of", tenants, "tenant")
    one = exists().where(
        in_state(State.WAITING), jobs.c.queue == asked.c.queue, jobs.c.name == asked.c.name, wanted.c.tenant == TENANT
    )
    return select(asked.c.queue, asked.c.name, wanted.c.tenant).join_from(wanted, asked, one).order_by(wanted.c.place)


def _table(title: str, prefix: str, rows: int, *columns: str) -> CTE:
    """SQL: so many rows of parameters (`_bound`), beside the place of each."""
    data = [
        (place, *(bindparam(f"{prefix}_{place}_{number}", type_=String) for number in range(len(columns))))
        for place in range(rows)
    ]
    return values(column("place", Integer), *(column(one, String) for one in columns), name=title).data(data).cte(title)


def _bound(prefix: str, rows: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The parameters of a `_table`."""
    return {f"{prefix}_{place}_{number}": one for place, row in enumerate(rows) for number, one in enumerate(row)}


REST_S = 1.0  # A job that a full worker has sent back waits so long: else it would go to and fro all the time.


def _rested(of: Any) -> ColumnElement[bool]:
    """SQL: the job was not let go and sent just now, and then refused by who got it: that has no `send_due`."""
    return or_(of.c.send_due.is_not(None), of.c.sends == 0, of.c.queued_at.is_(None), of.c.queued_at <= at(-REST_S))


def heads(connection: Connection, of: Sequence[Group], *, rested: bool = False) -> dict[Group, tuple[int, str]]:
    """The next job of each group as (-priority, id), in one statement however many groups there are.

    rested: without those that a full worker has just sent back.
    """
    if not of:
        return {}
    found = connection.execute(_heads(len(of), rested), _bound("group", of))
    return {of[row.place]: (-row.priority, row.id) for row in found}


@lru_cache(maxsize=SHAPES)
def _heads(many: int, rested: bool) -> Select[Any]:
    asked = _table("asked", "group", many, "queue", "name", "tenant")
    inner = jobs.alias("inner_jobs")
    tenant: ColumnElement[str] = literal_column("coalesce(inner_jobs.tenant, '')", String)
    first = (
        select(inner.c.id)
        .where(
            inner.c.state == literal_column(f"'{State.WAITING}'"),
            inner.c.queue == asked.c.queue,
            inner.c.name == asked.c.name,
            tenant == asked.c.tenant,
            _rested(inner) if rested else true(),
        )
        .order_by(inner.c.priority.desc(), inner.c.id)
        .limit(1)
        .correlate(asked)
        .scalar_subquery()
    )
    chosen = select(asked.c.place, first.label("id")).cte("chosen")
    return select(chosen.c.place, jobs.c.id, jobs.c.priority).join_from(chosen, jobs, jobs.c.id == chosen.c.id)


_NEXT = (
    select(jobs.c.id, jobs.c.priority)
    .where(
        in_state(State.WAITING),
        jobs.c.queue == bindparam("b_queue"),
        jobs.c.name == bindparam("b_name"),
        bindparam("b_tenant") == TENANT,
    )
    .order_by(jobs.c.priority.desc(), jobs.c.id)
    .limit(bindparam("b_many"))
    .offset(bindparam("b_after"))
)


_NEXT_RESTED = _NEXT.where(_rested(jobs))


def following(
    connection: Connection, group: Group, after: int, many: int, *, rested: bool = False
) -> list[tuple[int, str]]:
    """The next jobs of a group as (-priority, id), in their order, behind the first `after`; rested: as for `heads`."""
    asked = {"b_queue": group.queue, "b_name": group.name, "b_tenant": group.tenant, "b_after": after, "b_many": many}
    found = connection.execute(_NEXT_RESTED if rested else _NEXT, asked)
    return [(-row.priority, row.id) for row in found]
