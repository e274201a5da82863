"""The table in which the live tests' jobs leave their effects; no constraint would hide a double."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table

metadata = MetaData()

effects = Table(
    "live_effects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(200), nullable=False),
    Column("step", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
)
