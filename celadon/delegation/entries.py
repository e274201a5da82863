"""What the registration file says: each delegated queue, where its jobs go, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

Backoff = Literal["exponential", "fixed"]
Network = Literal["loopback", "private"]

PATH = "/internal/process-job"
MAX_ANSWER_BYTES = 256 * 1024
CONNECT_S = 2.0
BACKOFF_S = 1.0
# Results are told in a queue of their own, so many at a time to all receivers and to each of them: one that hangs keeps
# no other from being told.
CALLBACKS, CALLBACKS_MOST, CALLBACKS_EACH = "callbacks", 16, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySource:
    """Where one or two signing keys (`whsec_…`, the newest first) are read from: a variable or a file. Never a key."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """At most so many deliveries in any window of so many seconds, over the whole fleet."""

    starts: int
    per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One delegated queue.

    service: the name that a resolver turns into an address. path: of POST; the state of a job is asked for at
    `{path}/{jobId}`. concurrency: deliveries at a time, over the whole fleet. timeout_s: for the whole answer,
    connecting included; connect_s, first_byte_s: parts of it. attempts: tries in all. backoff_s: the pause after the
    first failure. networks: addresses that are allowed beside public ones; ports: ports that are, beside 80, 443 and
    those from 1024.
    """

    queue: str
    service: str
    concurrency: int
    timeout_s: float
    attempts: int
    backoff: Backoff
    path: str = PATH
    connect_s: float = CONNECT_S
    first_byte_s: float | None = None  # None: timeout_s.
    backoff_s: float = BACKOFF_S
    rate: Rate | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    keys: KeySource | None = None  # None: deliveries are not signed.
    networks: frozenset[Network] = frozenset()
    ports: frozenset[int] = frozenset()
    max_answer_bytes: int = MAX_ANSWER_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolver:
    """How the name of a service becomes a base URL: looked up in `services`, or put into `template`."""

    kind: Literal["static", "dns"] = "static"
    age: timedelta = timedelta(seconds=30)  # How long an answer is good for.
    services: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    template: str | None = None  # "http://{service}.features.svc.cluster.local"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """Where results may be sent to: an origin, `scheme://host[:port]`, with keys and networks as of an entry."""

    origin: str
    keys: KeySource | None = None
    networks: frozenset[Network] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The whole file. `digest` tells two versions apart; `callbacks` are those who may be sent results, by origin."""

    entries: Mapping[str, Entry]
    resolver: Resolver
    callbacks: Mapping[str, Receiver] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""

    @property
    def queues(self) -> tuple[str, ...]:
        """What the fleet consumes: the delegated queues and, if somebody may be told of results, that of callbacks."""
        return (*self.entries, *((CALLBACKS,) if self.callbacks else ()))

    @property
    def concurrency(self) -> int:
        """Requests that may be under way at once: as many slots a process of the fleet has to have."""
        return sum(entry.concurrency for entry in self.entries.values()) + (CALLBACKS_MOST if self.callbacks else 0)


EMPTY = Table(entries=MappingProxyType({}), resolver=Resolver())
