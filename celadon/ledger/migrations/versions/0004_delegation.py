"""Delegation: circuits of endpoints, failed deliveries, who is told of results, and versions of the file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from celadon.ledger.db import Instant

JSON = sa.JSON(none_as_null=True)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _of_a_job() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "circuits",
        sa.Column("service", sa.String(length=200), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failed_at", Instant(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("open_until", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("service"),
    )
    op.create_table(
        "deliveries",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("request", JSON, nullable=True),
        sa.Column("answer", JSON, nullable=True),
        _of_a_job(),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("deliveries_by_queue", "deliveries", ["queue", "at"])
    op.create_table(
        "callbacks",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("told_at", Instant(), nullable=True),
        _of_a_job(),
        sa.PrimaryKeyConstraint("job_id"),
    )
    untold = sa.text("told_at IS NULL")
    op.create_index("callbacks_untold", "callbacks", ["job_id"], postgresql_where=untold, sqlite_where=untold)
    op.create_table(
        "registrations",
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("last_seen", Instant(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("digest"),
    )


def downgrade() -> None:
    for name in ("registrations", "callbacks", "deliveries", "circuits"):
        op.drop_table(name)
