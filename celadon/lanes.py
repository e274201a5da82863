"""What the operator's file declares: the lanes, each a way of working queues."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

from celadon.errors import CeladonError
from celadon.settings import settings

POOLS = ("threads", "prefork")
FALLBACKS = ("inline", "defer", "refuse")
DELEGATED = "delegated"  # The lane that works the queues of the registration file (celadon/delegation/file.py).


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
def declared() -> Mapping[str, Lane]:
    """The lanes by name, as the file says. Raises CeladonError for a lane that can't work."""
    told: Mapping[str, Mapping[str, Any]] = getattr(operators_file(), "lanes", {})
    made: dict[str, Lane] = {}
    owner: dict[str, str] = {}
    for name, facts in told.items():
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
