"""Who waits: groups of waiting jobs and the next of each, found by jumping from one to the next in `jobs_waiting`.

A hundred thousand jobs that wait cost a look no more than a handful: it reads an entry for each group, not each job.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    column,
    exists,
    literal_column,
    or_,
    select,
    text,
    true,
    union_all,
    values,
)

from celadon.ledger.db import at
from celadon.ledger.gates import Group
from celadon.ledger.tables import TENANT, in_state, jobs
from celadon.states import State

PAIRS = 100  # (queue, name) that are looked at in one line.
AT_ONCE = 64  # Groups whose jobs are read in one statement.
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
    asked: list[_Asked] = []
    for line, (of, after, most) in enumerate(looks):
        for queue, name in random.sample(of, PAIRS) if len(of) > PAIRS else of:
            asked.append(_Asked(line, queue, name, 0, after, None, most + 1))
            asked.append(_Asked(line, queue, name, 1, "", after, most))
    if not asked:
        return found
    rows = _padded(len(asked))
    bound = {
        f"b_{name}_{place}": value
        for place, one in enumerate(asked + [_NOTHING] * (rows - len(asked)))
        for name, value in one._asdict().items()
    }
    for row in connection.execute(_scan(rows), bound):
        of_line = found[asked[row.place].line]
        if len(of_line) < looks[asked[row.place].line].most:
            of_line.append(Group(asked[row.place].queue, asked[row.place].name, row.tenant))
    return found


class _Asked(NamedTuple):
    line: int
    queue: str
    name: str
    part: int  # 0: the tenants behind `low`. 1: those from `low` on.
    low: str
    high: str | None  # None: to the last one.
    most: int


_NOTHING = _Asked(-1, "", "", 0, "", "", 0)
_INTEGERS = ("line", "part", "most")
_TYPES: dict[str, Any] = {name: Integer if name in _INTEGERS else String for name in _Asked._fields}


@lru_cache(maxsize=SHAPES)
def _scan(rows: int) -> Select[Any]:
    """SQL: of each row asked, one tenant after the other, each found by an entry of the index."""
    data = [
        (place, *(bindparam(f"b_{name}_{place}", type_=of) for name, of in _TYPES.items())) for place in range(rows)
    ]
    columns = [column("place", Integer), *(column(name, of) for name, of in _TYPES.items())]
    asked = values(*columns, name="asked").data(data).cte("asked")

    def following(bound: ColumnElement[bool], *of: Any) -> Any:
        here = (in_state(State.WAITING), jobs.c.queue == asked.c.queue, jobs.c.name == asked.c.name, bound)
        return select(TENANT).where(*here).order_by(TENANT).limit(1).correlate(asked, *of).scalar_subquery()

    first = select(
        asked.c.place, following(asked.c.low <= TENANT).label("tenant"), literal_column("1", Integer).label("number")
    )
    scan = first.cte("scan", recursive=True)

    def within(scan: Any) -> ColumnElement[bool]:
        return and_(scan.c.tenant.is_not(None), or_(asked.c.high.is_(None), scan.c.tenant <= asked.c.high))

    scan = scan.union_all(
        select(scan.c.place, following(scan.c.tenant < TENANT, scan), scan.c.number + 1)
        .join_from(scan, asked, asked.c.place == scan.c.place)
        .where(within(scan), scan.c.number < asked.c.most)
    )
    return (
        select(scan.c.place, scan.c.tenant)
        .join_from(scan, asked, asked.c.place == scan.c.place)
        .where(within(scan), or_(asked.c.part == 1, scan.c.tenant > asked.c.low))
        .order_by(asked.c.line, asked.c.part, scan.c.tenant)
    )


def _padded(many: int) -> int:
    """So many or more: of the statements with so many parameters there are to be few, so that they are known."""
    return 1 << (many - 1).bit_length()


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


def _rested() -> ColumnElement[bool]:
    """SQL: the job was not let go and sent just now, and then refused by who got it: that has no `send_due`."""
    return or_(
        jobs.c.send_due.is_not(None), jobs.c.sends == 0, jobs.c.queued_at.is_(None), jobs.c.queued_at <= at(-REST_S)
    )


def _next(row: str, rested: bool) -> Select[Any]:
    """SQL: the next jobs of a group, of the parameters of that row."""
    return (
        select(jobs.c.id, jobs.c.priority)
        .where(
            in_state(State.WAITING),
            jobs.c.queue == bindparam(f"b_queue_{row}"),
            jobs.c.name == bindparam(f"b_name_{row}"),
            bindparam(f"b_tenant_{row}") == TENANT,
            _rested() if rested else true(),
        )
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(bindparam(f"b_many_{row}"))
        .offset(bindparam(f"b_behind_{row}"))
    )


@lru_cache(maxsize=SHAPES)
def _firsts(rows: int, rested: bool) -> CompoundSelect[Any]:
    each = [_next(str(place), rested).subquery() for place in range(rows)]
    return union_all(
        *(select(literal_column(str(place), Integer).label("place"), one) for place, one in enumerate(each))
    )


def first(
    connection: Connection, asked: Mapping[Group, int], *, behind: int = 0, rested: bool = False
) -> dict[Group, list[tuple[int, str]]]:
    """The first so many jobs of each group, as (-priority, id) in their order, those behind the first `behind`.

    rested: without those that a full worker has just sent back.
    """
    found: dict[Group, list[tuple[int, str]]] = {group: [] for group in asked}
    wanted = list(asked.items())
    for begin in range(0, len(wanted), AT_ONCE):
        some = wanted[begin : begin + AT_ONCE]
        rows = _padded(len(some))
        bound: dict[str, Any] = {}
        for place in range(rows):
            group, many = some[place] if place < len(some) else (Group("", "", ""), 0)
            facts = {**group._asdict(), "many": many, "behind": behind}
            bound |= {f"b_{name}_{place}": value for name, value in facts.items()}
        for row in connection.execute(_firsts(rows, rested), bound):
            found[some[row.place][0]].append((-row.priority, row.id))
    return found
