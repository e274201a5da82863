"""The command, as tests give it."""

from __future__ import annotations

from click.testing import CliRunner, Result

from celadon.cli import main
from celadon.delegation import file


def celadon(*words: str) -> Result:
    file.table()  # Whoever reads it first logs that, and logs go with the answers here, unlike in a terminal.
    return CliRunner().invoke(main, list(words), prog_name="celadon")


def refused(*words: str) -> str:
    """The one sentence in which the command says no."""
    result = celadon(*words)
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output.strip()
