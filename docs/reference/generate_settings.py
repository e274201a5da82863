"""Writes settings.md from the settings class (`make reference`). A test compares the two."""

from __future__ import annotations

import ast
from pathlib import Path

from pydantic_core import PydanticUndefined

from celadon.settings import Settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

HEAD = """# Settings

Every setting is an environment variable. A value that can't be used stops the process at its start, with a message
that names the variable. This page is written from the code by `make reference`.

| variable | default | meaning |
|---|---|---|
"""

OPERATORS_FILE = """
How queues are worked is no environment variable: lanes, routes, delivery rules, limits and schedules stand in
`celeryconfig.py`, the operator's file. It reads these variables itself:

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_rows()) + OPERATORS_FILE + "".join(_operators_rows())


def _rows() -> list[str]:
    return [
        f"| `{name.upper()}` | {_shown(field.default)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]


def _shown(default: object) -> str:
    if default is PydanticUndefined:
        return "(must be given)"
    if default is None or default == "":
        return "(empty)"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _operators_rows() -> list[str]:
    return [f"| `{name}` | {_shown(default)} | {meaning} |\n" for name, default, meaning in operators_variables()]


def operators_variables() -> list[tuple[str, object, str]]:
    """Name, default and meaning of each variable that celeryconfig.py reads and the platform does not.

    The meaning is the comment above the statement that reads it.
    """
    text = (ROOT / "celeryconfig.py").read_text()
    found = []
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.FunctionDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "_number"):
                name, *default = (ast.literal_eval(argument) for argument in node.args)
                if name.lower() not in Settings.model_fields:
                    above = _comment_above(text.splitlines(), statement.lineno)
                    found.append((name, default[0] if default else None, above))
    return found


def _comment_above(lines: list[str], number: int) -> str:
    """The comment that ends on the line before line `number`, counted from one."""
    words: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.startswith("# "):
            break
        words.insert(0, line.removeprefix("# "))
    return " ".join(words)


if __name__ == "__main__":
    (HERE / "settings.md").write_text(page())
