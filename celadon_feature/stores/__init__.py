"""What a store keeps, and what each store promises: which jobs are being done, are done, and with which answer.

THE STORE MUST BE SHARED BY ALL REPLICAS of the service. Two replicas with a store each both do the same job.

- `SqliteStore`: a file, for replicas on one host. Nothing to install.
- `SqlStore` (extra `sqlalchemy`): PostgreSQL, for replicas on any number of hosts; SQLite too.
- `RedisStore` (extra `redis`): as safe as its Redis. What that forgets (a failover, an eviction, a crash without an
  append-only file) may be done again.

One row stands for each job id. It is inserted before the work, with an expiry that is renewed while the handler runs:

    unknown ──begin──▶ running ──finish──▶ succeeded        final: every repeat is given the kept answer
                       ▲  │  └───finish──▶ failed ──begin, with a higher attemptsMade──▶ running
                       │  ▼ expired
                       └─begin─ interrupted
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

KEEP_S = 7 * 24 * 3600.0  # How long an answer is known. As long as the platform knows its own idempotency keys.
_TRIES = 20  # Of beginning a job whose row changes between the two statements: each change is another's progress.

State = Literal["unknown", "running", "interrupted", "succeeded", "failed"]


class StoreUnavailable(Exception):
    """The store can't be reached now."""


class NotShared(UserWarning):
    """The store is this process's alone: other replicas, and this one after a restart, do its jobs again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a job's handler. `token` tells it apart from any other: only its own token ends or renews a run."""

    job_id: str
    attempts_made: int
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What is known of a job id. `answer` is the JSON text that an ended run was answered with."""

    state: State
    attempts_made: int = 0
    answer: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed")

    def stops(self, run: Run) -> bool:
        """Whether this is a reason not to begin: it runs, has succeeded, or this very try has failed already."""
        if self.state == "failed":
            return run.attempts_made <= self.attempts_made
        return self.state in ("running", "succeeded")


class Store(Protocol):
    """Keeps one row for each job id. Every method is atomic over all replicas, and may raise StoreUnavailable.

    Times are those of the store where it has a clock, so that replicas need not agree on theirs.
    """

    def begin(self, run: Run, expires_s: float) -> Standing | None:
        """Insert the run, to expire in so many seconds. None: it is begun. Else what stops it, and nothing changed.

        The same run, begun again while it runs, is begun: so may be said again what got no answer.
        """

    def renew(self, run: Run, expires_s: float) -> bool:
        """Let it expire in so many seconds from now, and be known for as long as one that is begun now.

        False: it is not this run's any more.
        """

    def finish(self, run: Run, *, success: bool, answer: str) -> bool:
        """Keep the answer. False: it is not this run's any more, and nothing changed."""

    def abandon(self, run: Run) -> None:
        """Let it expire at once, if it is still this run's: it was interrupted."""

    def look(self, job_id: str) -> Standing:
        """What is known of the job."""

    def forget(self) -> None:
        """Delete what was kept longer than it is to be."""


def begin(run: Run, take: Callable[[], bool], look: Callable[[str], Standing]) -> Standing | None:
    """`Store.begin` by two statements: one that takes the row if it may be taken, one that tells why it may not."""
    for _ in range(_TRIES):
        if take():
            return None
        there = look(run.job_id)
        if there.stops(run):
            return there
    raise StoreUnavailable(f"Job {run.job_id} is begun and ended by others all the time")
