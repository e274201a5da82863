"""Delegation: circuits of endpoints, what failed deliveries sent and got, and where results are to be sent."""

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
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("answer", JSON, nullable=True),
        _of_a_job(),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "callbacks",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        _of_a_job(),
        sa.PrimaryKeyConstraint("job_id"),
    )


def downgrade() -> None:
    for name in ("callbacks", "deliveries", "circuits"):
        op.drop_table(name)
