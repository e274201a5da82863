"""Keys for the API, and indexes for its lists of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from celadon.ledger.db import Instant

JSON = sa.JSON(none_as_null=True)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    # First, for it needs the stronger lock. To raise a lock later, with half-done transactions waiting, is a deadlock.
    op.drop_index("jobs_tenant", "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "created_at"])
    op.create_index("jobs_by_name", "jobs", ["name", "state", "created_at"])
    op.create_index("jobs_by_queue", "jobs", ["queue", "state", "created_at"])
    for column, name in (("tenant", "jobs_by_tenant"), ("error_fingerprint", "jobs_by_error")):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "jobs", [column, "state", "created_at"], postgresql_where=there, sqlite_where=there)


def downgrade() -> None:
    for name in ("jobs_by_error", "jobs_by_tenant", "jobs_by_queue", "jobs_by_name", "jobs_by_state"):
        op.drop_index(name, "jobs")
    there = sa.text("tenant IS NOT NULL")
    op.create_index("jobs_tenant", "jobs", ["tenant", "id"], postgresql_where=there, sqlite_where=there)
    op.drop_table("api_keys")
