"""Bringing the database to the present schema: the platform's tables, then the application's."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from celadon.errors import CeladonError
from celadon.ledger.db import engine, translated

PLATFORM = "celadon.ledger.migrations"
# Any number will do, as long as every process that migrates takes the same one.
_LOCK = 7_204_416_012


def migrate(packages: Sequence[str] = ()) -> list[str]:
    """Apply what is missing, of the platform and then of each package that holds `versions/*.py`.

    Safe to run from several hosts at once: on PostgreSQL they queue on an advisory lock, on SQLite on the file.
    Returns the packages. Raises CeladonError for a package that has no migrations, LedgerUnavailable.
    """
    done = []
    with translated(), engine().begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        for package in (PLATFORM, *packages):
            command.upgrade(config(package, connection), "head")
            done.append(package)
    return done


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
