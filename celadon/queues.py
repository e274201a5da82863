"""Queues and lanes: what `celeryconfig.lanes` declares, and which lane works which queue."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

from celadon.errors import CeladonError, UnknownQueue
from celadon.settings import settings

POOLS = ("threads", "prefork")
FALLBACKS = ("inline", "defer", "refuse")
DEFAULT = "default"  # The queue of jobs that neither name one nor have a route, unless task_default_queue says another.


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """A way of working queues."""

    name: str
    queues: tuple[str, ...]
    pool: str  # threads | prefork
    concurrency: int
    prefetch: int  # Messages held per slot.
    timeout_s: float  # Longest run of a job that names no time-out of its own.
    grace_s: float  # What a worker may take to stop.
    visibility_s: int  # When Redis hands an unacknowledged message out again.
    fallback: str  # What submit does when the broker is away and the job names nothing else.
    lease_s: float | None = None  # How long a claim stands unless renewed; None: the setting LEASE_S.

    @property
    def lease(self) -> float:
        return self.lease_s or settings().lease_s


@lru_cache(maxsize=1)
def operators_file() -> ModuleType:
    """The module that CELERY_CONFIG_MODULE names. Raises CeladonError."""
    name = settings().celery_config_module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise
        raise CeladonError(
            f"The configuration module {name!r} is not found; run from the folder that holds it, "
            "or name it in CELERY_CONFIG_MODULE"
        ) from error


@lru_cache(maxsize=1)
def lanes() -> Mapping[str, Lane]:
    """The lanes by name. Raises CeladonError for a lane that can't work."""
    declared: Mapping[str, Mapping[str, Any]] = getattr(operators_file(), "lanes", {})
    made: dict[str, Lane] = {}
    owner: dict[str, str] = {}
    for name, facts in declared.items():
        try:
            lane = Lane(name=name, **facts)
        except TypeError as error:
            raise CeladonError(f"celeryconfig.lanes[{name!r}]: {error}") from error
        if lane.pool not in POOLS or lane.fallback not in FALLBACKS or lane.concurrency < 1:
            raise CeladonError(
                f"celeryconfig.lanes[{name!r}]: pool is one of {POOLS} (here {lane.pool!r}), fallback one of "
                f"{FALLBACKS} (here {lane.fallback!r}), concurrency at least 1 (here {lane.concurrency})"
            )
        for queue in lane.queues:
            if queue in owner:
                raise CeladonError(
                    f"celeryconfig.lanes: queue {queue!r} is in {owner[queue]!r} and in {name!r}; keep one"
                )
            owner[queue] = name
        made[name] = lane
    if not made:
        raise CeladonError("celeryconfig declares no lanes, so no queue would be worked; add `lanes = {...}`")
    return made


def lane(name: str) -> Lane:
    try:
        return lanes()[name]
    except KeyError:
        raise CeladonError(f"There is no lane {name!r}; there are: {', '.join(lanes())}") from None


def lane_of(queue: str) -> Lane:
    """The lane that works a queue. Raises UnknownQueue."""
    for one in lanes().values():
        if queue in one.queues:
            return one
    raise UnknownQueue(f"No lane works the queue {queue!r}; there are: {', '.join(names())}", queue=queue)


def names() -> list[str]:
    """All queues, by name."""
    return sorted(queue for one in lanes().values() for queue in one.queues)


def queue_for(name: str, *, declared: str | None, delayed: bool) -> str:
    """The queue of a job: as declared, else `scheduled` for what is due later, else by route, else the default."""
    if declared is not None:
        return declared
    if delayed and "scheduled" in names():
        return "scheduled"
    for pattern, route in getattr(operators_file(), "task_routes", {}).items():
        if fnmatch.fnmatch(name, pattern):
            return str(route["queue"])
    return str(getattr(operators_file(), "task_default_queue", DEFAULT))
