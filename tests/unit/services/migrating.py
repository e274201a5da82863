"""Runs the migrations of the services by themselves."""

from __future__ import annotations

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

import services.migrations


def upgrade(connection: Connection) -> None:
    for script in reversed(_scripts()):
        with Operations.context(MigrationContext.configure(connection)):
            script.module.upgrade()


def downgrade(connection: Connection) -> None:
    for script in _scripts():
        with Operations.context(MigrationContext.configure(connection)):
            script.module.downgrade()


def _scripts() -> list[Script]:
    """Newest first."""
    folder = Path(services.migrations.__path__[0])
    return list(ScriptDirectory(str(folder)).walk_revisions())
