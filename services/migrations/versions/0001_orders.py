"""Products, orders and invoices, with the shop's first catalogue on the shelf.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

CATALOGUE = [
    # sku, name, price in cents with tax, pieces, description
    ("BOWL-NOODLE", "Noodle bowl", 3600, 200, "Deep and wide, with a foot that stays cool."),
    ("BOWL-TEA", "Tea bowl", 2400, 240, "Thrown thin, glazed thick; it fits two hands."),
    ("BOX-LID", "Lidded box", 5400, 90, "For salt, rings or secrets. The lid sits with a sigh."),
    ("CUP-YUNOMI", "Yunomi cup", 1800, 300, "A tall cup for every day, with a crackle like ice."),
    ("DISH-DIP", "Dipping dish", 900, 600, "A pool of glaze, and room for some sauce."),
    ("JAR-MOON", "Moon jar", 24000, 3, "Two halves joined by eye, so never quite round."),
    ("JUG-MILK", "Milk jug", 3800, 120, "Pours a clean line and keeps the last drop."),
    ("PLATE-DINNER", "Dinner plate", 3400, 400, "Flat enough for a knife, rimmed enough for peas."),
    ("PLATE-SIDE", "Side plate", 2200, 400, "For bread, cake, and whatever is left."),
    ("POT-TEA", "Teapot", 9600, 60, "Half a litre, a cane handle, no dripping."),
    ("VASE-BUD", "Bud vase", 3200, 180, "One stem is enough."),
    ("VASE-MEIPING", "Meiping vase", 14500, 25, "High shoulders, small mouth: made for a plum branch."),
]


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("sku", sa.String(32), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("price_cents", sa.Integer, nullable=False),
        sa.Column("stock", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("sku", name="pk_products"),
        sa.CheckConstraint("stock >= 0", name="ck_products_stock_not_negative"),
        sa.CheckConstraint("price_cents >= 0", name="ck_products_price_not_negative"),
    )
    op.create_table(
        "orders",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("request_key", sa.String(255)),
        sa.Column("job_id", sa.String(64)),
        sa.Column("customer_name", sa.String(120), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("tax_bp", sa.Integer, nullable=False),
        sa.Column("inventory_processed", sa.Boolean, nullable=False),
        sa.Column("inventory_processed_at", sa.DateTime(timezone=True)),
        sa.Column("email_sent", sa.Boolean, nullable=False),
        sa.Column("email_sent_at", sa.DateTime(timezone=True)),
        sa.Column("invoice_generated", sa.Boolean, nullable=False),
        sa.Column("invoice_generated_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name="pk_orders"),
        sa.UniqueConstraint("id", name="uq_orders_id"),
        sa.UniqueConstraint("request_key", name="uq_orders_request_key"),
    )
    op.create_index("ix_orders_created_at", "orders", ["created_at"])
    op.create_table(
        "order_lines",
        sa.Column("order_number", sa.Integer, nullable=False),
        sa.Column("sku", sa.String(32), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price_cents", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("order_number", "sku", name="pk_order_lines"),
        sa.ForeignKeyConstraint(["order_number"], ["orders.number"], name="fk_order_lines_order_number"),
        sa.ForeignKeyConstraint(["sku"], ["products.sku"], name="fk_order_lines_sku"),
        sa.CheckConstraint("quantity > 0", name="ck_order_lines_quantity_positive"),
    )
    op.create_table(
        "invoices",
        sa.Column("order_number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("pdf", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_number", name="pk_invoices"),
        sa.ForeignKeyConstraint(["order_number"], ["orders.number"], name="fk_invoices_order_number"),
        sa.UniqueConstraint("number", name="uq_invoices_number"),
    )
    names = ("sku", "name", "price_cents", "stock", "description")
    op.bulk_insert(products, [dict(zip(names, row, strict=True)) for row in CATALOGUE])


def downgrade() -> None:
    for table in ("invoices", "order_lines", "orders", "products"):
        op.drop_table(table)
