"""What a limit says: how many of some jobs may run at a time, and how many may start in any window of time.

A limit stands at a gate: a queue, a job's name or a tenant. It is declared in `celeryconfig.limits`, or set at run time
(`celadon.ledger.limits`), and holds over all workers and hosts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from celadon.delegation import file
from celadon.delegation.entries import CALLBACKS, CALLBACKS_EACH, CALLBACKS_MOST
from celadon.errors import InvalidLimit, UnknownJob, UnknownQueue
from celadon.queues import lane_of, operators_file
from celadon.registry import storable

Kind = Literal["queue", "job", "tenant"]
Each = Literal["all", "tenant", "worker"]

MOST = 100_000  # At a time, or in a window: the window's starts are counted at each release.
MOST_RULES = 20  # At one gate; more are a mistake, and each is counted at every release.
LONGEST_WINDOW_S = 86_400.0  # A start is remembered that long.
# A job's body begins a little after its claim, and a window counts bodies. So places are given over a window that is
# longer by a margin, and a run that has not begun within a part of it does not begin (celadon/run.py). The least leaves
# a slow commit or a busy process time to begin; it costs a window of a second a fifth of its starts.
MARGIN_SHARE, MARGIN_LEAST_S, MARGIN_MOST_S = 0.05, 0.25, 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One rule of a gate; several may stand at it, and all of them hold.

    concurrency: how many may run at a time. starts, per_s: how many may start in any window of so many seconds, by the
    first line of the job's function. each: for whom that is; `all` together, each `tenant` by itself (jobs without one
    are one group), or each `worker` by itself, in all its processes (concurrency only).

    Raises InvalidLimit.
    """

    concurrency: int | None = None
    starts: int | None = None
    per_s: float | None = None
    each: Each = "all"

    def __post_init__(self) -> None:
        for what, value in (("concurrency", self.concurrency), ("starts", self.starts)):
            if value is not None and (type(value) is not int or not 1 <= value <= MOST):
                raise InvalidLimit(f"{what}={value!r}: a whole number from 1 to {MOST}; to hold all jobs, pause them")
        if (self.starts is None) != (self.per_s is None):
            raise InvalidLimit("starts and per_s belong together: starts=10, per_s=10 is ten in any ten seconds")
        if self.per_s is not None and (
            isinstance(self.per_s, bool)
            or not isinstance(self.per_s, (int, float))
            or not 1 <= self.per_s <= LONGEST_WINDOW_S
        ):
            raise InvalidLimit(f"per_s={self.per_s!r}: from 1 s to {LONGEST_WINDOW_S:g} s (a day) are allowed")
        if self.each not in get_args(Each):
            raise InvalidLimit(f"each={self.each!r}: one of {', '.join(get_args(Each))}")
        if self.concurrency is None and self.starts is None:
            raise InvalidLimit("a limit says concurrency, or starts and per_s, or both")
        if self.each == "worker" and self.starts is not None:
            raise InvalidLimit("each='worker' limits concurrency only; for a window over all workers leave `each` out")

    @property
    def margin_s(self) -> float:
        """By how much places are given over a longer window than `per_s`."""
        return min(max((self.per_s or 0.0) * MARGIN_SHARE, MARGIN_LEAST_S), MARGIN_MOST_S)

    @property
    def window_s(self) -> float:
        """How far back a release looks at starts; 0: not at all."""
        return self.per_s + self.margin_s if self.per_s is not None else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as `parse` takes it: without what is not said."""
        facts = {"concurrency": self.concurrency, "starts": self.starts, "per_s": self.per_s}
        said: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
        return said if self.each == "all" else {**said, "each": self.each}

    def __str__(self) -> str:
        """In words: `5 at a time for each worker`."""
        said = []
        if self.concurrency is not None:
            said.append(f"{self.concurrency} at a time")
        if self.starts is not None:
            said.append(f"{self.starts} starts in {self.per_s:g} s")
        return " and ".join(said) + (f" for each {self.each}" if self.each != "all" else "")


def parse(facts: object) -> Limit:
    """A limit from a mapping: {"starts": 10, "per_s": 10, "each": "tenant"}. Raises InvalidLimit."""
    known = list(Limit.__dataclass_fields__)
    if not isinstance(facts, Mapping):
        raise InvalidLimit(f"{facts!r} is no limit; write a mapping of {', '.join(known)}")
    for name in facts:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InvalidLimit(f"{name!r} is nothing that a limit says; {hint}")
    return Limit(**facts)


def parsed(facts: object) -> tuple[Limit, ...]:
    """The rules of one gate, from a list of mappings. Raises InvalidLimit."""
    if not isinstance(facts, Iterable) or isinstance(facts, (str, bytes, Mapping)):
        raise InvalidLimit(f"{facts!r}: the limits of a gate are a list of mappings")
    return tuple(parse(one) for one in facts)


def together(kind: Kind, rules: Sequence[Limit]) -> tuple[Limit, ...]:
    """The rules of one gate, each once. Raises InvalidLimit for those that can't be meant there."""
    made = tuple(dict.fromkeys(rules))
    if len(made) > MOST_RULES:
        raise InvalidLimit(f"{len(made)} limits: at most {MOST_RULES} stand at one {kind}", option="rules")
    if kind == "tenant" and any(rule.each == "tenant" for rule in made):
        raise InvalidLimit("each='tenant' says nothing of one tenant; leave `each` out", option="rules")
    return made


def gate_of(text: str) -> tuple[Kind, str]:
    """The gate that `job orders.process`, `queue data_sync` or `tenant acme` names. Raises InvalidLimit."""
    kind, _, name = text.partition(" ")
    if kind not in get_args(Kind) or not storable(name.strip()):
        raise InvalidLimit(f"{text!r}: write `queue NAME`, `job NAME` or `tenant NAME`")
    return kind, name.strip()  # type: ignore[return-value]


def declared() -> dict[tuple[Kind, str], tuple[Limit, ...]]:
    """What `celeryconfig.limits` declares, by gate. Raises InvalidLimit, UnknownQueue, UnknownJob."""
    from celadon import registry

    found: Mapping[str, object] = getattr(operators_file(), "limits", {})
    made: dict[tuple[Kind, str], tuple[Limit, ...]] = {}
    for text, facts in found.items():
        try:
            kind, name = gate_of(text)
            made[kind, name] = together(kind, parsed(facts))
            # A misspelt name would be a limit that holds nobody.
            if kind == "queue":
                lane_of(name)
                if name in file.table().queues:
                    raise InvalidLimit("the limits of a delegated queue stand in the registration file")
            elif kind == "job":
                registry.get(name)
        except (InvalidLimit, UnknownQueue, UnknownJob) as error:
            raise type(error)(f"celeryconfig.limits[{text!r}]: {error}", **vars(error)) from error
    return made


def registered() -> dict[tuple[Kind, str], tuple[Limit, ...]]:
    """What the registration file says of its queues, by gate; and of callbacks, if it names receivers."""
    made: dict[tuple[Kind, str], tuple[Limit, ...]] = {}
    for name, entry in file.table().entries.items():
        starts, per_s = (None, None) if entry.rate is None else (entry.rate.starts, entry.rate.per_s)
        made["queue", name] = (Limit(concurrency=entry.concurrency, starts=starts, per_s=per_s),)
    if file.table().callbacks:
        # The tenant of a callback is its receiver.
        made["queue", CALLBACKS] = (Limit(concurrency=CALLBACKS_MOST), Limit(concurrency=CALLBACKS_EACH, each="tenant"))
    return made


def generation() -> int:
    """Of the configuration that this process has: its limits never overwrite those of a newer one."""
    return int(getattr(operators_file(), "beat_generation", 1))
