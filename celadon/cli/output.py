"""What several commands print in one way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, none: str) -> None:
    """Columns as wide as they need, under their titles; `none`, beside the output, if there are no rows."""
    if not rows:
        click.echo(none, err=True)
        return
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(when: datetime | None, none: str = "-") -> str:
    """An instant in UTC, to the second."""
    return none if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
