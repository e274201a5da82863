"""What the migrations make is what the code expects, on both databases."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from celadon.errors import CeladonError, LedgerUnavailable
from celadon.ledger import db
from celadon.ledger.migrate import NEWER, PLATFORM, UP_TO_DATE, config, migrate
from celadon.ledger.tables import metadata
from tests.contract.given import race
from tests.contract.pointed import pointed
from tests.ledgers import KINDS

OVER_EXPRESSIONS = ("jobs_queued", "jobs_waiting")


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/empty.db"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.create_database(f"empty_{threading.get_ident()}_{tmp_path.name}")
    with pointed(ledger_url=url):
        yield url


def indexes(connection: Connection) -> set[str]:
    """The definitions of all indexes as the database tells them: columns, order, expressions, conditions."""
    if connection.dialect.name == "postgresql":
        told = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
    else:
        told = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    return {re.sub(r'[\s"()]+', " ", row[0]).strip() for row in connection.execute(text(told))}


def ours(name: str | None, kind: str, _: object) -> bool:
    """Leaves out the application's tables, and the indexes over an expression, which Alembic can't compare.

    `priority DESC` is told by each database in words of its own; the next test compares the indexes with themselves.
    """
    return name in metadata.tables if kind == "table" else not str(name).startswith(OVER_EXPRESSIONS)


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_migrations_make_the_tables_of_the_code(ledger: str):
    with db.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        differences = compare_metadata(context, metadata)

    assert [one for one in differences if not any(name in repr(one) for name in OVER_EXPRESSIONS)] == []


def test_the_migrations_make_the_indexes_of_the_code_with_their_order_and_conditions(empty: str):
    with db.engine().begin() as connection:
        metadata.create_all(connection)
        expected = indexes(connection)
        metadata.drop_all(connection)
        assert indexes(connection) == set()

    migrate()

    with db.engine().connect() as connection:
        made = {one for one in indexes(connection) if "celadon_version" not in one}
    assert made == expected
    assert any("priority DESC" in one for one in made)
    assert any("state = 'queued'" in one or "state ::text = 'queued'" in one for one in made)


def test_rows_on_postgresql_leave_room_for_their_updates(empty: str):
    migrate()
    if not empty.startswith("postgresql"):
        return

    with db.engine().connect() as connection:
        options = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'jobs'")).scalar_one()

    assert options == ["fillfactor=70"]


def test_migrating_again_changes_nothing(empty: str):
    assert migrate() == {PLATFORM: UP_TO_DATE}
    with db.engine().connect() as connection:
        before = indexes(connection)

    assert migrate() == {PLATFORM: UP_TO_DATE}

    with db.engine().connect() as connection:
        assert indexes(connection) == before


def test_several_hosts_may_migrate_at_once(empty: str):
    assert race(3, lambda _: migrate()) == [{PLATFORM: UP_TO_DATE}] * 3


def test_a_schema_of_a_later_version_is_left_as_it_is(empty: str):
    migrate(["services.migrations"])
    with db.engine().begin() as connection:
        connection.execute(text("UPDATE celadon_version SET version_num = '9999'"))

    assert migrate(["services.migrations"]) == {PLATFORM: NEWER, "services.migrations": UP_TO_DATE}

    with db.engine().connect() as connection:
        assert connection.execute(text("SELECT version_num FROM celadon_version")).scalar_one() == "9999"


def test_on_postgresql_a_migration_does_not_wait_long_for_a_table_in_use(empty: str, monkeypatch: pytest.MonkeyPatch):
    if not empty.startswith("postgresql"):
        return
    migrate()
    with db.engine().begin() as connection:
        command.downgrade(config(PLATFORM, connection), "0001")
    monkeypatch.setattr("celadon.ledger.migrate._LOCK_TIMEOUT_S", 0.2)

    with db.engine().connect() as reader:
        reader.execute(text("SELECT count(*) FROM jobs"))
        with pytest.raises(LedgerUnavailable, match="in use for over 0.2 s; nothing was changed, migrate again"):
            migrate()

    assert migrate() == {PLATFORM: UP_TO_DATE}


def test_each_package_has_a_version_of_its_own(ledger: str):
    with db.engine().connect() as connection:
        versions = {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in ("celadon_version", "services_version")
        }

    assert versions == {"celadon_version": 1, "services_version": 1}


@pytest.mark.parametrize(
    ("package", "told"),
    [("no.such.package", "can't be imported as a package"), ("celadon.worker", "does not exist")],
)
def test_a_package_without_migrations_is_named(empty: str, package: str, told: str):
    with pytest.raises(CeladonError, match=f"celeryconfig.migrations names '{package}'.*{told}"):
        migrate([package])
