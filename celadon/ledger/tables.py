"""The tables of the ledger. `celadon/ledger/migrations` makes them; a test compares the two."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

from celadon.ledger.db import Instant
from celadon.states import State

metadata = MetaData()

JSON = sqlalchemy.JSON(none_as_null=True)  # Python's None is SQL's NULL, not the text "null".

ID = String(64)  # A UUIDv7 of ours, or the id that another application gave a Celery message we adopted.
NAME = String(200)

TENANT: ColumnElement[str] = literal_column("coalesce(tenant, '')", String)
"""SQL: the job's tenant, empty if it has none. Written as the index over it is."""

# What has begun once does not expire any more, and is not read in search of what does.
_TO_EXPIRE = "expires_at IS NOT NULL AND state IN ('scheduled', 'waiting', 'queued', 'parked')"


def _partial(name: str, *columns: Any, where: str, sqlite: str | None = None) -> Index:
    """An index over the rows that `where` names; `sqlite` if that database needs other words for it."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(sqlite or where))


jobs = Table(
    "jobs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("state", String(16), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("size", Integer, nullable=False, server_default="0"),  # Bytes of payload and result, for retention.
    Column("priority", Integer, nullable=False, server_default="0"),  # Higher goes first where the ledger chooses.
    Column("tenant", NAME),
    Column("trace", JSON),  # W3C trace context of the submitter.
    Column("scope", NAME),  # Business key of the step marks; NULL: the job's id.
    # --- when
    Column("run_at", Instant),  # Due time while scheduled.
    Column("send_due", Instant),  # While queued: when the broker is to be told (again). Never NULL then.
    Column("sends", Integer, nullable=False, server_default="0"),  # Times it was sent since it was queued.
    Column("reserved_at", Instant),  # Queued or running: since when its limits keep a place for it. NULL: none do.
    Column("expires_at", Instant),  # Not claimed by then: cancelled.
    Column("created_at", Instant, nullable=False),
    Column("queued_at", Instant),
    Column("claimed_at", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    # --- the fence
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("claimed_by", String(255)),
    Column("lease_until", Instant),
    Column("engine", String(8)),  # worker | inline
    # --- attempts
    Column("attempt", Integer, nullable=False, server_default="0"),  # Tries that failed and burnt a retry.
    Column("max_attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default="0"),  # Deaths that it alone can have caused.
    Column("quarantine", Boolean, nullable=False, server_default=text("false")),  # Runs alone next time.
    Column("exclusive", Boolean, nullable=False, server_default=text("false")),  # And is then its worker's one suspect.
    Column("deaths", Integer, nullable=False, server_default="0"),  # In a row, with it as an exclusive suspect in them.
    Column("replays", Integer, nullable=False, server_default="0"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    # --- how it ended
    Column("result", JSON),
    Column("error_kind", NAME),
    Column("error_message", Text),
    Column("error_fingerprint", String(16)),  # Groups dead jobs of one cause.
    # --- where it came from
    Column("schedule", NAME),
    Column("due", Instant),
    _partial("jobs_queued", "queue", text("priority DESC"), "id", where="state = 'queued'"),
    # Two, so that a backlog which is all on the broker is not read in search of what it was never told of.
    _partial("jobs_unsent", "send_due", where="state = 'queued' AND sends = 0"),
    _partial("jobs_sent", "queue", "send_due", where="state = 'queued' AND sends > 0"),
    _partial("jobs_scheduled", "run_at", where="state = 'scheduled'"),
    _partial("jobs_leases", "lease_until", where="state = 'running'"),
    _partial("jobs_held", "state", "queue", where="state IN ('waiting', 'parked')"),
    # For releases: who waits, in the order of a turn (celadon/ledger/waiting.py).
    _partial("jobs_waiting", "queue", "name", TENANT, text("priority DESC"), "id", where="state = 'waiting'"),
    _partial("jobs_reserved", "reserved_at", where="reserved_at IS NOT NULL"),
    # Those to be run alone, in the order in which a worker takes them up.
    _partial("jobs_suspects", "queue", "exclusive", "crashes", "id", where="quarantine", sqlite="quarantine = 1"),
    _partial("jobs_expiring", "expires_at", where=f"started_at IS NULL AND {_TO_EXPIRE}"),
    _partial("jobs_finished", "name", "finished_at", where="state IN ('succeeded', 'cancelled')"),
    _partial("jobs_dead", "name", "finished_at", where="state = 'dead'"),
    # For lists: each filter beside the state, newest first (celadon/ledger/listing.py).
    Index("jobs_by_state", "state", "created_at"),
    Index("jobs_by_name", "name", "state", "created_at"),
    Index("jobs_by_queue", "queue", "state", "created_at"),
    _partial("jobs_by_tenant", "tenant", "state", "created_at", where="tenant IS NOT NULL"),
    _partial("jobs_by_error", "error_fingerprint", "state", "created_at", where="error_fingerprint IS NOT NULL"),
    UniqueConstraint("schedule", "due", name="jobs_once_per_due_time"),
    # Reaping, renewing and claiming rewrite rows all the time: leave room on the page for them.
    postgresql_with={"fillfactor": "70"},
)


def in_state(*states: State) -> ColumnElement[bool]:
    """SQL: the job is in one of `states`, in the words of the partial indexes.

    A state that is given as a parameter leaves it to the planner whether to look at its value: a plan that PostgreSQL
    keeps for all values can't use an index over some.
    """
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return jobs.c.state == words[0] if len(words) == 1 else jobs.c.state.in_(words)


# Idempotency keys outlive the row of their job, so there is no foreign key.
keys = Table(
    "keys",
    metadata,
    Column("scope", NAME, primary_key=True),  # The job's name; of a delivery its queue's too.
    Column("key", NAME, primary_key=True),
    Column("payload_hash", String(64), nullable=False),
    Column("job_id", ID, nullable=False, index=True),
    Column("expires_at", Instant, nullable=False, index=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),  # The claim it ran under.
    Column("number", Integer, nullable=False),
    Column("worker", String(255)),
    Column("engine", String(8)),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", Text),  # With traceback.
)

steps = Table(
    "steps",
    metadata,
    Column("scope", NAME, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("job_id", ID, nullable=False, index=True),  # Who worked on it last.
    Column("state", String(16), nullable=False),  # running, done, failed, asleep
    Column("key", String(36), nullable=False),  # The idempotency key that its outside effect carries.
    Column("result", JSON),
    Column("error", Text),  # Of the last failed try; kept when a later one succeeds.
    Column("wake_at", Instant),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("started_at", Instant, nullable=False),
    Column("last_attempt_at", Instant, nullable=False),
    Column("finished_at", Instant),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("job", NAME, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("queue", NAME),
    Column("source", String(8), nullable=False),  # config | api
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("removed", Boolean, nullable=False, server_default=text("false")),  # No longer configured.
    Column("reason", Text),  # Why it is not enabled.
    Column("missed", String(8), nullable=False, server_default="latest"),  # skip | latest | all
    Column("missed_max", Integer, nullable=False, server_default="10"),  # Of `all`: the latest so many.
    Column("overlap", String(8), nullable=False, server_default="allow"),  # allow | skip | queue | replace
    Column("jitter_s", Float, nullable=False, server_default="0"),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("last_due", Instant, nullable=False),
    Column("next_due", Instant, index=True),  # NULL: it has ended.
    Column("last_job", ID),  # Whom it fired last.
    # Of what it is to do; another one with each change. Who has looked before such a change fires nothing after it.
    Column("version", ID, nullable=False, server_default=""),
)

# What operators turn at run time, per queue, job name or tenant.
switches = Table(
    "switches",
    metadata,
    Column("kind", String(8), primary_key=True),  # queue | job | tenant
    Column("name", NAME, primary_key=True),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("until", Instant),  # When the pause ends by itself.
    Column("use_broker", Boolean, nullable=False, server_default=text("true")),
    Column("reason", Text),
    Column("limits", JSON),  # A list of rules (celadon/limits.py); NULL: none.
    Column("limits_source", String(8)),  # config | file (of the delegated queues) | api
    Column("generation", Integer, nullable=False, server_default="0"),  # Of the configuration that set the limits.
    Column("turn", NAME),  # The tenant that was released last.
)

# When limited jobs started, for as long as a window looks back.
starts = Table(
    "starts",
    metadata,
    Column("job_id", ID, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("queue", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("tenant", NAME),
    Column("at", Instant, nullable=False, index=True),
    Index("starts_by_queue", "queue", "at"),
    Index("starts_by_name", "name", "at"),
    Index("starts_by_tenant", "tenant", "at"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(255), primary_key=True),  # Unique per boot.
    Column("host", NAME, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lane", NAME, nullable=False),
    Column("queues", JSON, nullable=False),
    Column("tasks", JSON, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False, index=True),
    Column("lost_slots", Integer, nullable=False, server_default="0"),
    Column("dropped", Integer, nullable=False, server_default="0"),  # Messages of ours that named no job.
    Column("stopping", Boolean, nullable=False, server_default=text("false")),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", ID, primary_key=True),
    Column("job_id", ID, nullable=False, index=True),
    Column("kind", String(8), nullable=False),  # failing | dead | backlog
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("try_after", Instant, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("error", Text),
)

# What was counted that should not happen, and what operators did.
audit = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("action", NAME, nullable=False),
    Column("subject", NAME, nullable=False),
    Column("detail", JSON),
)

# Keys of programs that ask over HTTP. Whose secret is lost makes a new one: here is only its hash.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", NAME, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),  # Written at most once a minute.
    Column("revoked_at", Instant),
)

# Endpoints of delegated queues that can't be connected to; one that can has no row.
circuits = Table(
    "circuits",
    metadata,
    Column("service", NAME, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),  # To connect, in a row.
    Column("failed_at", Instant, nullable=False),
    Column("openings", Integer, nullable=False, server_default="0"),  # In a row; 0: it is closed.
    Column("open_until", Instant),  # From then on one delivery may try; it is moved on for who does.
    Column("reason", Text, nullable=False),
)

# The last request and answer of a delivery that did not succeed, one for each job; what is secret is masked.
deliveries = Table(
    "deliveries",
    metadata,
    Column("job_id", ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("queue", NAME, nullable=False),  # The job's.
    Column("epoch", Integer, nullable=False),  # Of the last run that did not succeed.
    Column("at", Instant, nullable=False),
    Column("verdict", Text, nullable=False),  # What became of it, in words.
    Column("in_doubt", Boolean, nullable=False, server_default=text("false")),  # Ask before it is posted again.
    Column("seconds", Float, nullable=False),  # From the request to its answer, or to giving up.
    Column("request", JSON),  # method, url, headers, body; NULL: nothing was sent.
    Column("answer", JSON),  # status, headers, body; NULL: there was none.
    Index("deliveries_by_queue", "queue", "at"),
)

# Who is to be told when a job has ended.
callbacks = Table(
    "callbacks",
    metadata,
    Column("job_id", ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("told_at", Instant),  # NULL: not yet, or not since it was replayed.
    _partial("callbacks_untold", "job_id", where="told_at IS NULL"),
)

# The versions of the registration file that schedulers have, and whose limits hold.
registrations = Table(
    "registrations",
    metadata,
    Column("digest", String(16), primary_key=True),
    Column("since", Instant, nullable=False),  # When a scheduler had it first, or changed to it.
    Column("last_seen", Instant, nullable=False),
    Column("applied", Boolean, nullable=False, server_default=text("false")),
)
