"""A task is glue: it unpacks, calls one service and returns what that says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TASKS = Path(__file__).parents[3] / "tasks"


def tasks() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file in sorted(TASKS.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any("job(" in ast.unparse(each) for each in node.decorator_list):
                yield f"{file.stem}.{node.name}", node


@pytest.mark.parametrize(("name", "task"), [pytest.param(*each, id=each[0]) for each in tasks()])
def test_a_task_has_a_docstring_and_at_most_five_lines(name: str, task: ast.FunctionDef) -> None:
    assert ast.get_docstring(task), name
    first, last = task.body[1], task.body[-1]
    assert (last.end_lineno or 0) - first.lineno < 5
