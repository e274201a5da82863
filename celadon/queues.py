"""Queues: which lane works which, those of the operator's file and those of the registration file as it is now."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, replace

from celadon.delegation import file
from celadon.delegation.entries import Table
from celadon.errors import CeladonError, UnknownQueue
from celadon.lanes import DELEGATED, FALLBACKS, POOLS, Lane, declared, operators_file

__all__ = [
    "DEFAULT",
    "FALLBACKS",
    "POOLS",
    "Lane",
    "lane",
    "lane_of",
    "lanes",
    "longest_s",
    "names",
    "operators_file",
    "queue_for",
]

DEFAULT = "default"  # The queue of jobs that neither name one nor have a route, unless task_default_queue says another.
MOST_NAMED = 20  # Queues that an error lists.


@dataclass(frozen=True, kw_only=True, slots=True)
class _View:
    """What follows from one reading of both files; made anew when either is another."""

    declared: Mapping[str, Lane]
    table: Table
    lanes: Mapping[str, Lane]
    owners: Mapping[str, Lane]
    names: tuple[str, ...]


_last: _View | None = None


def _view() -> _View:
    global _last
    told, table = declared(), file.table()
    view = _last
    if view is None or view.declared is not told or view.table is not table:
        view = _last = _made(told, table)
    return view


def _made(told: Mapping[str, Lane], table: Table) -> _View:
    made = dict(told)
    if table.queues and DELEGATED in made:
        one = made[DELEGATED]
        made[DELEGATED] = replace(one, queues=(*one.queues, *table.queues))
    owners = {queue: one for one in made.values() for queue in one.queues}
    return _View(declared=told, table=table, lanes=made, owners=owners, names=tuple(sorted(owners)))


def lanes() -> Mapping[str, Lane]:
    """The lanes by name; `delegated` has the queues of the registration file. Raises CeladonError."""
    return _view().lanes


def lane(name: str) -> Lane:
    try:
        return lanes()[name]
    except KeyError:
        raise CeladonError(f"There is no lane {name!r}; there are: {', '.join(lanes())}") from None


def lane_of(queue: str) -> Lane:
    """The lane that works a queue. Raises UnknownQueue."""
    view = _view()
    try:
        return view.owners[queue]
    except KeyError:
        raise UnknownQueue(f"No lane works the queue {queue!r}; {_hint(queue, view)}", queue=queue) from None


def _hint(queue: str, view: _View) -> str:
    near = difflib.get_close_matches(queue, view.names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    own = sorted(name for one in view.declared.values() for name in one.queues)
    more = len(view.names) - len(own)
    problem = file.last_error()
    return (
        f"there are: {', '.join(own[:MOST_NAMED])}"
        + (f" and {more} of the registration file" if more else "")
        + (f" (which can't be used as it stands: {problem})" if problem else "")
    )


def longest_s(queue: str) -> float:
    """The longest run of a job in this queue that names no time-out. Raises UnknownQueue.

    A job may be under way whose queue has just been taken out of the registration file; it has the time of that lane.
    """
    view = _view()
    one = view.owners.get(queue) or view.lanes.get(DELEGATED) or lane_of(queue)
    return one.timeout_s


def names() -> list[str]:
    """All queues, by name."""
    return list(_view().names)


def queue_for(name: str, *, declared: str | None, delayed: bool) -> str:
    """The queue of a job: as declared, else `scheduled` for what is due later, else by route, else the default."""
    if declared is not None:
        return declared
    if delayed and "scheduled" in _view().owners:
        return "scheduled"
    for pattern, route in getattr(operators_file(), "task_routes", {}).items():
        if fnmatch.fnmatch(name, pattern):
            return str(route["queue"])
    return str(getattr(operators_file(), "task_default_queue", DEFAULT))
