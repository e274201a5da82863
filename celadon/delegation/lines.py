"""On which line each key of a TOML text stands: the standard library's reader tells what it says, not where."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Path = tuple[str, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
# One piece of a value: a string, a comment, or anything else up to the next of them or the end of the line.
_PIECE = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[\[{]|[\]}]|[^"'#\[\]{}\n]+""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Lines:
    """Where things stand in a text, counted from one."""

    first: Mapping[Path, int]
    again: Mapping[Path, int]  # Of what is said twice, the second line.

    def of(self, path: Path) -> int:
        """The line of a key or table; of one that is not written out, that of the nearest one around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.first:
                return self.first[path[:length]]
        return 1


def find(text: str) -> Lines:
    """Look through a text. Of one that is no TOML, everything up to the fault is found."""
    first: dict[Path, int] = {}
    again: dict[Path, int] = {}
    declared: set[Path] = set()
    for path, line, declares in _declarations(text.replace("\r\n", "\n")):
        if declares and path in declared:
            again.setdefault(path, line)
        declared.add(path)
        for length in range(1, len(path) + 1):  # `[a.b]` is where `a` stands, if nothing before says it.
            first.setdefault(path[:length], line)
    return Lines(first, again)


def _declarations(text: str) -> Iterator[tuple[Path, int, bool]]:
    """Each key and each table: its path, its line, and whether it may stand only once."""
    ends = [found.start() for found in re.finditer("\n", text)]
    table: Path = ()
    at = _after(_SPACE, text, 0)
    while at < len(text):
        line = bisect_left(ends, at) + 1
        if text[at] == "[":
            listed = text.startswith("[[", at)
            path, at = _path(text, at + (2 if listed else 1))
            if not path or not text.startswith("]]" if listed else "]", at):
                return
            at += 2 if listed else 1
            table = path
            yield path, line, not listed
        else:
            path, at = _path(text, at)
            if not path or not text.startswith("=", at):
                return
            yield (*table, *path), line, True
            at = _end_of_value(text, at + 1)
        at = _after(_SPACE, text, at)


def _path(text: str, at: int) -> tuple[Path, int]:
    """A dotted key, and where it ends; an empty one if there is none."""
    parts: list[str] = []
    while True:
        at = _after(_BLANK, text, at)
        key = _KEY.match(text, at)
        if key is None:
            return (), at
        parts.append(_plain(key[0]))
        at = _after(_BLANK, text, key.end())
        if not text.startswith(".", at):
            return tuple(parts), at
        at += 1


def _plain(key: str) -> str:
    if key[0] not in "\"'":
        return key
    try:
        return str(tomllib.loads(f"key = {key}")["key"])
    except tomllib.TOMLDecodeError:
        return key


def _end_of_value(text: str, at: int) -> int:
    """The end of the line that a value ends on, which lies beyond what it spans in brackets and strings."""
    depth = 0
    while at < len(text):
        if text[at] == "\n":
            if depth <= 0:
                return at
            at += 1
            continue
        piece = _PIECE.match(text, at)
        if piece is None:  # A quotation mark that is not closed.
            return len(text)
        depth += (piece[0] in ("[", "{")) - (piece[0] in ("]", "}"))
        at = piece.end()
    return at


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
