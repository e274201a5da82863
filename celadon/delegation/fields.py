"""Reading what a TOML file says, field by field: each problem is noted with its line, and reading goes on."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from celadon.delegation.lines import Lines, Path
from celadon.errors import InvalidTable

T = TypeVar("T")


class Problems:
    """Everything that is wrong with one file."""

    def __init__(self, source: str, lines: Lines) -> None:
        self._source = source
        self._lines = lines
        self._told: list[tuple[int, str]] = []

    def add(self, path: Path, what: str) -> None:
        """Something is wrong with what stands at this path."""
        self.add_at(self._lines.of(path), f"{'.'.join(path)}{what}")

    def add_at(self, line: int, what: str) -> None:
        self._told.append((line, f"{self._source}:{line}: {what}"))

    def refuse(self) -> None:
        """Raises InvalidTable if there are any: all of them, in the order of the file."""
        if self._told:
            told = [what for _, what in sorted(self._told)]
            raise InvalidTable("\n".join(told), problems=told)


class Section:
    """A table of the file, of which one field after the other is taken."""

    def __init__(self, facts: object, path: Path, problems: Problems) -> None:
        self.path = path
        self._problems = problems
        self._facts: Mapping[str, Any] = facts if isinstance(facts, Mapping) else {}
        if not isinstance(facts, Mapping):
            self.wrong(None, f"={shown(facts)}: a table is meant; write [{'.'.join(path)}] and its fields below it")

    def wrong(self, field: str | None, what: str) -> None:
        self._problems.add((*self.path, field) if field is not None else self.path, what)

    def known(self, fields: Collection[str]) -> None:
        """Refuse every field that is not one of these: it would be ignored, and somebody counts on it."""
        for name in self._facts:
            if name not in fields:
                self.wrong(name, f": there is no such field; {guess(name, fields)}")

    def has(self, field: str) -> bool:
        return field in self._facts

    def get(self, field: str, default: object = None) -> Any:
        return self._facts.get(field, default)

    def items(self) -> Collection[tuple[str, Any]]:
        return self._facts.items()

    def whole(self, field: str, default: int, *, least: int, most: int, unit: str = "") -> int:
        """A whole number within bounds."""
        value = self._facts.get(field, default)
        if field in self._facts and (type(value) is not int or not least <= value <= most):
            self.wrong(field, f"={shown(value)}: a whole number from {least} to {most}{unit} is meant")
            return default
        return int(value)

    def text(self, field: str, default: T) -> str | T:
        value = self._facts.get(field, default)
        if field in self._facts and (not isinstance(value, str) or not value):
            self.wrong(field, f"={shown(value)}: a text in quotes is meant")
            return default
        return value  # type: ignore[no-any-return]

    def one_of(self, field: str, default: str, allowed: Collection[str]) -> str:
        value = self._facts.get(field, default)
        if field in self._facts and (not isinstance(value, str) or value not in allowed):
            self.wrong(field, f"={shown(value)}: one of {_list(allowed)} is meant")
            return default
        return str(value)

    def listed(self, field: str, kind: type[T], what: str) -> list[T]:
        """A list of values of one kind; [] if the field is left out."""
        values = self._facts.get(field, [])
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            self.wrong(field, f"={shown(values)}: a list of {what} is meant")
            return []
        return values

    def section(self, field: str) -> Section:
        """A table within; an empty one if it is left out."""
        return Section(self._facts.get(field, {}), (*self.path, field), self._problems)


def guess(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {_list(known)}"


def shown(value: object) -> str:
    """A value as an error may show it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _list(words: Collection[str]) -> str:
    some = sorted(words)
    return ", ".join(some[:20]) + (f" and {len(some) - 20} more" if len(some) > 20 else "") or "none"
