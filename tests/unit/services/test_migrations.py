from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, inspect

from services.orders.model import Base
from tests.unit.services.migrating import downgrade


def test_the_migrations_make_exactly_the_tables_of_the_model(engine: Engine) -> None:
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)

    assert differences == []


def test_every_check_of_the_model_is_in_the_database(engine: Engine) -> None:
    # Alembic does not compare check constraints.
    for table in Base.metadata.tables.values():
        wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
        assert {c["name"] for c in inspect(engine).get_check_constraints(table.name)} == wanted


def test_the_migrations_can_be_taken_back(engine: Engine) -> None:
    with engine.begin() as connection:
        downgrade(connection)

    assert inspect(engine).get_table_names() == []
