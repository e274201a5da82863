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
How queues are worked is no environment variable: lanes, routes, delivery rules and schedules stand in
`celeryconfig.py`, the operator's file. It reads these variables itself:

| variable | default |
|---|---|
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
    """The calls of `os.environ.get(name, default)` in celeryconfig.py that are no setting of the platform's too."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse((ROOT / "celeryconfig.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
            name, *default = (ast.literal_eval(argument) for argument in node.args)
            if name.lower() not in Settings.model_fields:
                found[name] = default[0] if default else None
    return [f"| `{name}` | {_shown(default)} |\n" for name, default in sorted(found.items())]


if __name__ == "__main__":
    (HERE / "settings.md").write_text(page())
