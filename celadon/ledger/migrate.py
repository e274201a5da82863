"""Bringing the database to the present schema: the platform's tables, then the application's."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from celadon.errors import CeladonError, LedgerUnavailable
from celadon.ledger.db import engine, translated

PLATFORM = "celadon.ledger.migrations"
# Any number will do, as long as every process that migrates takes the same one.
_LOCK = 7_204_416_012
# Whoever waits for a table makes everybody wait who comes after: so not for long, and rather once more later.
_LOCK_TIMEOUT_S = 5

UP_TO_DATE = "up to date"
NEWER = "the schema is newer than this version; left as it is"


def migrate(packages: Sequence[str] = ()) -> dict[str, str]:
    """Apply what is missing, of the platform and then of each package that holds `versions/*.py`.

    Safe to run from several hosts at once: on PostgreSQL they queue on an advisory lock, on SQLite on the file.
    A schema that a later version made stays: migrations only add, so that a version can be rolled back.
    Returns what each package's schema is now, UP_TO_DATE or NEWER. Raises CeladonError for a package that has no
    migrations, LedgerUnavailable.
    """
    try:
        with translated(), engine().begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'"))
            return {package: _upgrade(config(package, connection), connection) for package in (PLATFORM, *packages)}
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        raise LedgerUnavailable(
            f"A table of the ledger was in use for over {_LOCK_TIMEOUT_S} s; nothing was changed, migrate again"
        ) from error


def _upgrade(made: Config, connection: Connection) -> str:
    version = MigrationContext.configure(connection, opts={"version_table": made.attributes["version_table"]})
    known = {script.revision for script in ScriptDirectory.from_config(made).walk_revisions()}
    if not known.issuperset(version.get_current_heads()):
        return NEWER
    command.upgrade(made, "head")
    return UP_TO_DATE


def config(package: str, connection: Connection) -> Config:
    """Alembic's configuration for one package. Each has a version table of its own, named after it."""
    here = Path(str(importlib.import_module(PLATFORM).__path__[0]))
    try:
        versions = Path(str(importlib.import_module(package).__path__[0])) / "versions"
    except (ImportError, AttributeError) as error:
        raise CeladonError(
            f"celeryconfig.migrations names {package!r}, which can't be imported as a package"
        ) from error
    if not versions.is_dir():
        raise CeladonError(f"celeryconfig.migrations names {package!r}, but {versions} does not exist")
    made = Config()
    made.set_main_option("script_location", str(here))
    made.set_main_option("version_locations", str(versions))
    made.set_main_option("path_separator", "newline")
    made.attributes["connection"] = connection
    made.attributes["version_table"] = f"{package.split('.')[0]}_version"
    return made
