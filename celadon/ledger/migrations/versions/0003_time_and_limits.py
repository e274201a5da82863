"""Limits and their starts, pauses that end, and what schedules learn: policies, jitter, a beginning, an end."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from celadon.ledger.db import Instant

JSON = sa.JSON(none_as_null=True)
NAME = sa.String(length=200)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TO_EXPIRE = "expires_at IS NOT NULL AND state IN ('scheduled', 'waiting', 'queued', 'parked')"


def upgrade() -> None:
    new: sa.Column[Any]
    # What needs the stronger lock comes first: to raise one later, with half-done transactions waiting, is a deadlock.
    op.add_column("jobs", sa.Column("reserved_at", Instant()))
    op.add_column("jobs", sa.Column("exclusive", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.add_column("jobs", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("jobs_send_due", "jobs")
    there = sa.text("state = 'queued' AND sends = 0")
    op.create_index("jobs_unsent", "jobs", ["send_due"], postgresql_where=there, sqlite_where=there)
    there = sa.text("state = 'queued' AND sends > 0")
    op.create_index("jobs_sent", "jobs", ["queue", "send_due"], postgresql_where=there, sqlite_where=there)
    op.drop_index("jobs_expiring", "jobs")
    there = sa.text(f"started_at IS NULL AND {TO_EXPIRE}")
    op.create_index("jobs_expiring", "jobs", ["expires_at"], postgresql_where=there, sqlite_where=there)
    there = sa.text("state = 'waiting'")
    order: list[Any] = ["queue", "name", sa.text("coalesce(tenant, '')"), sa.text("priority DESC"), "id"]
    op.create_index("jobs_waiting", "jobs", order, postgresql_where=there, sqlite_where=there)
    there = sa.text("reserved_at IS NOT NULL")
    op.create_index("jobs_reserved", "jobs", ["reserved_at"], postgresql_where=there, sqlite_where=there)
    op.create_index(
        "jobs_suspects",
        "jobs",
        ["queue", "exclusive", "crashes", "id"],
        postgresql_where=sa.text("quarantine"),
        sqlite_where=sa.text("quarantine = 1"),
    )
    op.create_table(
        "starts",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "epoch"),
    )
    op.create_index("ix_starts_at", "starts", ["at"])
    for column in ("queue", "name", "tenant"):
        op.create_index(f"starts_by_{column}", "starts", [column, "at"])
    for new in (
        sa.Column("until", Instant()),
        sa.Column("limits", JSON),
        sa.Column("limits_source", sa.String(length=8)),
        sa.Column("generation", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("turn", NAME),
    ):
        op.add_column("switches", new)
    # SQLite can't change a column: it makes the table anew, and there are few schedules.
    with op.batch_alter_table("schedules") as schedules:
        for new in (
            sa.Column("reason", sa.Text()),
            sa.Column("missed", sa.String(length=8), nullable=False, server_default="latest"),
            sa.Column("missed_max", sa.Integer(), nullable=False, server_default="10"),
            sa.Column("overlap", sa.String(length=8), nullable=False, server_default="allow"),
            sa.Column("jitter_s", sa.Float(), nullable=False, server_default="0"),
            sa.Column("starts_at", Instant()),
            sa.Column("ends_at", Instant()),
            sa.Column("last_job", sa.String(length=64)),
            sa.Column("version", sa.String(length=64), nullable=False, server_default=""),
        ):
            schedules.add_column(new)
        schedules.alter_column("next_due", existing_type=Instant(), nullable=True)
    if op.get_bind().dialect.name == "sqlite":
        _tell_the_planner()


# For each index, how many entries it may have, and how many of them agree in the first column, the first two …
SPREAD = {
    "jobs_by_state": "1000000 10000 1",
    "jobs_by_name": "1000000 50000 10000 1",
    "jobs_by_queue": "1000000 50000 10000 1",
    "jobs_by_tenant": "1000000 50000 10000 1",
    "jobs_by_error": "1000000 50000 10000 1",
    "jobs_finished": "100000 1000 1",
    "jobs_dead": "100000 1000 1",
    "jobs_scheduled": "1000 1",
    "jobs_unsent": "1000 1",
    "jobs_sent": "1000 100 1",
    "jobs_leases": "1000 1",
    "jobs_expiring": "1000 1",
    "jobs_reserved": "1000 1",
    "jobs_queued": "1000 100 10 1",
    "jobs_held": "1000 500 100",
    "jobs_waiting": "1000 100 50 10 5 1",
    "jobs_suspects": "100 10 5 2 1",
}


def _tell_the_planner() -> None:
    """SQLite takes a state for as rare as a name, unless told: it would read a million scheduled jobs to find the first
    that is due, and not the index that begins with it."""
    op.execute("ANALYZE switches")  # Makes the table of statistics; `switches` has a handful of rows.
    for index, spread in SPREAD.items():
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('jobs', '{index}', '{spread}')")


def downgrade() -> None:
    op.execute("DELETE FROM schedules WHERE next_due IS NULL")
    with op.batch_alter_table("schedules") as schedules:
        schedules.alter_column("next_due", existing_type=Instant(), nullable=False)
        for name in (
            "version",
            "last_job",
            "ends_at",
            "starts_at",
            "jitter_s",
            "overlap",
            "missed_max",
            "missed",
            "reason",
        ):
            schedules.drop_column(name)
    # An older version knows neither pauses of tenants nor pauses that end.
    op.execute("DELETE FROM switches WHERE kind = 'tenant'")
    with op.batch_alter_table("switches") as switches:
        for name in ("turn", "generation", "limits_source", "limits", "until"):
            switches.drop_column(name)
    op.drop_table("starts")
    op.drop_index("jobs_suspects", "jobs")
    op.drop_index("jobs_reserved", "jobs")
    op.drop_index("jobs_waiting", "jobs")
    op.drop_index("jobs_sent", "jobs")
    op.drop_index("jobs_unsent", "jobs")
    op.drop_index("jobs_expiring", "jobs")
    there = sa.text(TO_EXPIRE)
    op.create_index("jobs_expiring", "jobs", ["expires_at"], postgresql_where=there, sqlite_where=there)
    there = sa.text("state = 'queued'")
    op.create_index("jobs_send_due", "jobs", ["send_due"], postgresql_where=there, sqlite_where=there)
    op.drop_column("jobs", "deaths")
    op.drop_column("jobs", "exclusive")
    op.drop_column("jobs", "reserved_at")
