"""Groups of commands: how their help is laid out, how errors are told, and what comes before every command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import click

from celadon.errors import CeladonError


class Group(click.Group):
    """Its help tells the whole first sentence of each command."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._section(formatter, "Commands", list(self.commands.values()))

    def _section(self, formatter: click.HelpFormatter, title: str, commands: Sequence[click.Command]) -> None:
        width = max(len(name) for name in self.commands)
        with formatter.section(title):
            formatter.write_dl([(f"{each.name:{width}}", each.get_short_help_str(limit=200)) for each in commands])


class Root(Group):
    """The command itself. Its help has sections."""

    def __init__(self, sections: Mapping[str, Sequence[click.Command]]) -> None:
        super().__init__(
            "celadon",
            callback=_begin,
            help="Background jobs that are neither lost nor done twice. "
            "Settings: environment, see docs/reference/settings.md.",
        )
        self._sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def invoke(self, ctx: click.Context) -> object:
        """Our own errors are told in a sentence, without a traceback."""
        try:
            return super().invoke(ctx)
        except CeladonError as error:
            raise click.ClickException(str(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self._sections.items():
            self._section(formatter, title, commands)


def _begin() -> None:
    # The operator's file stands in the folder the command is given in.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
