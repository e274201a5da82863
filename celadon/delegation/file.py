"""The table that holds now: the registration file, read again when it has changed."""

from __future__ import annotations

from celadon.delegation.entries import EMPTY, Table


def table() -> Table:
    """The current table; EMPTY if no file is configured. Never raises: a bad file leaves the table as it was.

    The file is looked at once a second at most. A table is the same object until the file changes.
    """
    return EMPTY


def last_error() -> str | None:
    """What is wrong with the file as it stands now, a problem per line; None if the table is what the file says."""
    return None
