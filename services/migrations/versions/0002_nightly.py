"""What the nightly and hourly jobs keep: sales reports, reorder levels, and which orders are forgotten.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RARE = {"JAR-MOON": 1, "VASE-MEIPING": 5}  # Made one at a time: few of them are no reason to order.


def upgrade() -> None:
    op.add_column("products", sa.Column("reorder_at", sa.Integer, nullable=False, server_default="10"))
    op.add_column("products", sa.Column("low_told_at", sa.DateTime(timezone=True)))
    products = sa.table("products", sa.column("sku"), sa.column("reorder_at"))
    for sku, level in RARE.items():
        op.execute(products.update().where(products.c.sku == sku).values(reorder_at=level))

    op.add_column("orders", sa.Column("forgotten_at", sa.DateTime(timezone=True)))
    where = sa.text("forgotten_at IS NULL")
    op.create_index("ix_orders_not_forgotten", "orders", ["created_at"], postgresql_where=where, sqlite_where=where)

    op.create_table(
        "sales_reports",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("orders", sa.Integer, nullable=False),
        sa.Column("pieces", sa.Integer, nullable=False),
        sa.Column("revenue_cents", sa.BigInteger, nullable=False),
        sa.Column("tax_cents", sa.BigInteger, nullable=False),
        sa.Column("products", sa.JSON, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_mail", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_sales_reports"),
    )


def downgrade() -> None:
    op.drop_table("sales_reports")
    op.drop_index("ix_orders_not_forgotten", "orders")
    op.drop_column("orders", "forgotten_at")
    for column in ("low_told_at", "reorder_at"):
        op.drop_column("products", column)
