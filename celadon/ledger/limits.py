"""Limits as rows: setting them at run time, what they are and how far they are used, and giving places (`release`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from celadon.ledger.sending import ToSend
from celadon.limits import Kind, Limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How far one rule is used, under one key."""

    rule: Limit
    key: str | None  # The tenant or worker of a rule that is for each of them; None: no tenant, or all.
    running: int
    reserved: int  # Released, and not claimed yet.
    starts: int  # In the rule's window; 0 if it has none.
    room: int  # How many more may be released now, by this rule alone.


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What operators turned or configured of one queue, job name or tenant, and its present use."""

    kind: Kind
    name: str
    rules: tuple[Limit, ...]
    source: str | None  # Of the rules: config | api. None: there have never been any.
    paused: bool  # Now: a pause whose end has come is none.
    until: datetime | None  # When the pause ends by itself.
    reason: str | None
    use_broker: bool
    waiting: int  # Jobs that wait here, counted no further than WAITING_MOST.
    uses: tuple[Use, ...]


WAITING_MOST = 10_000


def set_limits(kind: Kind, name: str, rules: Sequence[Limit], *, actor: str) -> None:
    """Limit a queue, a job's name or a tenant from now on, instead of what stood there. No rules: no limit.

    It stands until `reset`, whatever the configuration says. What runs goes on; what was about to run waits for its
    turn again. A window counts what starts from now on, and what runs now. Raises InvalidLimit, LedgerUnavailable.
    """
    raise NotImplementedError


def reset(kind: Kind, name: str, *, actor: str) -> tuple[Limit, ...]:
    """Back to what `celeryconfig.limits` of this process declares, or to no limit; which it is. Raises as set_limits."""
    raise NotImplementedError


def every() -> list[Gate]:
    """All gates with a limit or a switch that is turned, and their present use, by kind and name."""
    raise NotImplementedError


def find(kind: Kind, name: str) -> Gate:
    """One gate with its present use; one that nobody has turned is open."""
    raise NotImplementedError


def sync(declared: Mapping[tuple[Kind, str], Sequence[Limit]], generation: int) -> list[str]:
    """Make the configured limits equal to `declared`. What was set at run time stands, and what a newer generation says.

    Returns the gates, such as "job orders.process", that a newer generation has configured.
    """
    raise NotImplementedError


def release(gates: Collection[tuple[str, str]] | None = None, *, most: int = 500, sends: bool = False) -> list[ToSend]:
    """waiting → queued, with a place kept, for limited jobs whose turn has come and for whom all limits have room.

    gates: only what waits at these (kind, name); None: everywhere. most: how many at most. sends: the caller tells the
    broker of them itself, at once; otherwise the scheduler's sender does.
    """
    raise NotImplementedError
