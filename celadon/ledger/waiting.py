"""Who waits: groups of waiting jobs and the next of each, found by jumping from one to the next in `jobs_waiting`.

A hundred thousand jobs that wait cost a look no more than a handful: it reads an entry for each group, not each job.
What a look asks for goes in as one parameter, so that each statement is built once, however much is asked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from celadon.ledger.db import at
from celadon.ledger.gates import Group
from celadon.ledger.tables import TENANT, in_state, jobs
from celadon.states import State

PAIRS = 100  # (queue, name) that are looked at in one line.

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


_STILL = select(jobs.c.id).where(jobs.c.id.in_(bindparam("b_ids", expanding=True)), in_state(State.WAITING))


def still(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of these jobs that wait."""
    return set(connection.scalars(_STILL, {"b_ids": list(ids)}))


class Look(NamedTuple):
    """Which groups a line asks for: of these (queue, name), the tenant behind `after` first, of so many tenants."""

    pairs: Sequence[tuple[str, str]]
    after: str
    most: int


def groups(connection: Connection, looks: Sequence[Look]) -> list[list[Group]]:
    """The groups of each look, a tenant after the other, in the database's own order; in one statement.

    Of a line of more than PAIRS (queue, name) some are looked at; the others are at another time.
    """
    found: list[list[Group]] = [[] for _ in looks]
    asked: list[_Scan] = []
    for line, (of, after, most) in enumerate(looks):
        for queue, name in random.sample(of, PAIRS) if len(of) > PAIRS else of:
            asked.append(_Scan(len(asked), line, queue, name, 0, after, None, most + 1))
            asked.append(_Scan(len(asked), line, queue, name, 1, "", after, most))
    if not asked:
        return found
    for row in connection.execute(_scan(connection.dialect.name), _rows(asked)):
        scan = asked[row.place]
        if len(found[scan.line]) < looks[scan.line].most:
            found[scan.line].append(Group(scan.queue, scan.name, row.tenant))
    return found


class _Scan(NamedTuple):
    place: int
    line: int
    queue: str
    name: str
    part: int  # 0: the tenants behind `low`. 1: those from `low` on.
    low: str
    high: str | None  # None: to the last one.
    most: int


@lru_cache
def _scan(dialect: str) -> Select[Any]:
    """SQL: of each row asked, one tenant after the other, each found by an entry of the index."""
    asked = _asked(dialect, *_Scan._fields)

    def following(bound: ColumnElement[bool], *of: Any) -> Any:
        here = (in_state(State.WAITING), jobs.c.queue == asked.c.queue, jobs.c.name == asked.c.name, bound)
        return select(TENANT).where(*here).order_by(TENANT).limit(1).correlate(asked, *of).scalar_subquery()

    def within(scan: Any) -> ColumnElement[bool]:
        return and_(scan.c.tenant.is_not(None), or_(asked.c.high.is_(None), scan.c.tenant <= asked.c.high))

    first = select(asked.c.place, following(asked.c.low <= TENANT).label("tenant"), _ONE.label("number"))
    scan = first.cte("scan", recursive=True)
    scan = scan.union_all(
        select(scan.c.place, following(scan.c.tenant < TENANT, scan), scan.c.number + _ONE)
        .join_from(scan, asked, asked.c.place == scan.c.place)
        .where(within(scan), scan.c.number < asked.c.most)
    )
    return (
        select(scan.c.place, scan.c.tenant)
        .join_from(scan, asked, asked.c.place == scan.c.place)
        .where(within(scan), or_(asked.c.part == 1, scan.c.tenant > asked.c.low))
        .order_by(asked.c.line, asked.c.part, scan.c.tenant)
    )


def of_tenants(connection: Connection, of: Sequence[tuple[str, str]], tenants: Sequence[str]) -> list[Group]:
    """The groups of these (queue, name) and of these tenants, a tenant after the other."""
    if not of or not tenants:
        return []
    bound = {
        "b_asked": json.dumps([{"queue": queue, "name": name} for queue, name in of]),
        "b_wanted": json.dumps([{"place": place, "tenant": tenant} for place, tenant in enumerate(tenants)]),
    }
    found = connection.execute(_of_tenants(connection.dialect.name), bound)
    return [Group(row.queue, row.name, row.tenant) for row in found]


@lru_cache
def _of_tenants(dialect: str) -> Select[Any]:
    asked, wanted = _asked(dialect, "queue", "name"), _asked(dialect, "place", "tenant", title="wanted")
    one = exists().where(
        in_state(State.WAITING), jobs.c.queue == asked.c.queue, jobs.c.name == asked.c.name, wanted.c.tenant == TENANT
    )
    return select(asked.c.queue, asked.c.name, wanted.c.tenant).join_from(wanted, asked, one).order_by(wanted.c.place)


REST_S = 1.0  # A job that a full worker has sent back waits so long: else it would go to and fro all the time.


def _rested() -> ColumnElement[bool]:
    """SQL: the job was not let go and sent just now, and then refused by who got it: that has no `send_due`."""
    long_ago = jobs.c.queued_at <= at(-REST_S)
    return or_(jobs.c.send_due.is_not(None), jobs.c.sends == 0, jobs.c.queued_at.is_(None), long_ago)


def first(
    connection: Connection, asked: Mapping[Group, int], *, rested: bool = False
) -> dict[Group, list[tuple[int, str]]]:
    """The first so many jobs of each group, as (-priority, id) in their order; in one statement.

    rested: without those that a full worker has just sent back.
    """
    found: dict[Group, list[tuple[int, str]]] = {group: [] for group in asked}
    if not asked:
        return found
    rows = [_First(place, *group, many) for place, (group, many) in enumerate(asked.items())]
    of = list(found.values())
    for row in connection.execute(_first(connection.dialect.name, rested), _rows(rows)):
        of[row.place].append((-row.priority, row.id))
    return found


class _First(NamedTuple):
    place: int
    queue: str
    name: str
    tenant: str
    most: int


@lru_cache
def _first(dialect: str, rested: bool) -> Select[Any]:
    """SQL: of each group asked, one job after the other: the next of its priority, else the first of a lower one."""
    asked, last = _asked(dialect, *_First._fields), jobs.alias("last_jobs")
    here = (
        in_state(State.WAITING),
        jobs.c.queue == asked.c.queue,
        jobs.c.name == asked.c.name,
        asked.c.tenant == TENANT,
        _rested() if rested else true(),
    )
    in_order = select(jobs.c.id).where(*here).order_by(jobs.c.priority.desc(), jobs.c.id).limit(1)
    beside = select(jobs.c.id).where(*here, jobs.c.priority == last.c.priority, jobs.c.id > last.c.id)
    following = func.coalesce(
        beside.order_by(jobs.c.id).limit(1).correlate(asked, last).scalar_subquery(),
        in_order.where(jobs.c.priority < last.c.priority).correlate(asked, last).scalar_subquery(),
    )
    scan = select(asked.c.place, in_order.correlate(asked).scalar_subquery().label("id"), _ONE.label("number")).cte(
        "scan", recursive=True
    )
    scan = scan.union_all(
        select(scan.c.place, following, scan.c.number + _ONE)
        .join_from(scan, asked, asked.c.place == scan.c.place)
        .join(last, last.c.id == scan.c.id)
        .where(scan.c.number < asked.c.most)
    )
    found = select(scan.c.place, jobs.c.id, jobs.c.priority).join_from(scan, jobs, jobs.c.id == scan.c.id)
    return found.order_by(scan.c.place, scan.c.number)


_ONE: ColumnElement[int] = literal_column("1", Integer)
_INTEGERS = ("place", "line", "part", "most")


def _rows(rows: Sequence[Any]) -> dict[str, str]:
    """The parameter of `_asked`."""
    return {"b_asked": json.dumps([row._asdict() for row in rows])}


def _asked(dialect: str, *names: str, title: str = "asked") -> CTE:
    """SQL: the rows of a parameter in JSON, `b_asked` if it is not titled otherwise."""
    types: dict[str, Any] = {name: Integer if name in _INTEGERS else String for name in names}
    told = bindparam(f"b_{title}", type_=String)
    if dialect == "postgresql":
        columns = [column(name, of) for name, of in types.items()]
        each = func.jsonb_to_recordset(cast(told, JSONB)).table_valued(*columns).render_derived(with_types=True)
        return select(*each.c).cte(title)
    each = func.json_each(told).table_valued("value")
    fields = [func.json_extract(each.c.value, f"$.{name}", type_=of).label(name) for name, of in types.items()]
    return select(*fields).cte(title)
