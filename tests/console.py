"""Commands in the documentation, and the output that they are said to have."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.test_docs import blocks


def commands(page: Path) -> list[tuple[str, str]]:
    """Each command of a page's console blocks, with the output that stands under it."""
    found: list[list[str]] = []
    for _, code in blocks(page.read_text(), "console"):
        inside = False  # A command that goes on: after a backslash, or until its quote is closed.
        for line in code.splitlines():
            if line.startswith("$ "):
                found.append([line[2:], ""])
            elif inside:
                found[-1][0] += "\n" + line
            else:
                found[-1][1] += line + "\n"
            command = found[-1][0]
            inside = not found[-1][1] and (command.endswith("\\") or command.count("'") % 2 == 1)
    return [(command, output) for command, output in found]


def fits(said: str, output: str) -> bool:
    """Whether the output is what is said; `…` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in said.strip().split("…"))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None
