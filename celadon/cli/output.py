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
    cells = [titles, *([line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def line(text: str) -> str:
    """Names and reasons may hold anything; what would break the line, or speak to the terminal, is written out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def moment(when: datetime | None, none: str = "-") -> str:
    """An instant in UTC, to the second."""
    return none if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
