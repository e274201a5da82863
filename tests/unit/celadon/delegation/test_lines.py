"""Every key and table of a TOML text is found on its line, whatever stands around it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celadon.delegation.lines import find

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", "b", 2),
        ("# a = 1\n\n  a = 2", "a", 3),
        ("[a.b]\nc = 1", "a.b.c", 2),
        ("[ a . 'b' ]\nc = 1", "a.b", 1),
        ('["a"."b c"]\n"d e" = 1', "a.b c.d e", 2),
        ("a.b.c = 1\na.d = 2", "a.d", 2),
        ('a = """\n[b]\nc = 1\n"""\nb = 1', "b", 5),
        ("a = '''\n[b]'''\nb = 1", "b", 3),
        ('a = """x\\"""y\nb = 1"""\nb = 2', "b", 3),
        ('a = """x""""\nb = 2', "b", 2),
        ('a = [\n  "b = 1",  # ]\n  [1, 2],\n]\nb = 2', "b", 5),
        ("a = { b = 1, c = { d = 2 } }\ne = 3", "e", 2),
        ("a = { b = 1 }", "a.b", 1),
        ("[[a]]\nb = 1\n[[a]]\nb = 2", "a", 1),
        ("a = 1\r\nb = 2\r\n", "b", 2),
        ('"a\\u0062" = 1', "ab", 1),
        ("a = 'x # y'\nb = 2 # z", "b", 2),
    ],
)
def test_a_key_is_found(text: str, path: str, line: int) -> None:
    tomllib.loads(text)

    assert find(text).of(tuple(path.split("."))) == line


def test_what_is_not_written_out_is_where_the_nearest_around_it_is() -> None:
    found = find("\n[queues.email]\nservice = 'x'\n")

    assert found.of(("queues", "email", "timeout")) == 2
    assert found.of(("resolver", "kind")) == 1


def test_what_stands_twice_is_found_with_both_lines() -> None:
    found = find("[a]\nb = 1\nb = 2\n[c.e]\n[a]\n[[d]]\n[[d]]\n[c]\n")

    assert dict(found.again) == {("a", "b"): 3, ("a",): 5}
    assert found.first["a",] == 1


@pytest.mark.parametrize(
    "text", ["[", "[a", "a", "a =", 'a = "', "= 1", '[a."', "a = [[[", "a = '''", "\x00", "a = 1 ]"]
)
def test_what_is_no_toml_is_looked_through_without_a_fault(text: str) -> None:
    assert find(text + "\n").of(("z",)) == 1


def paths(facts: dict[str, Any], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    return {
        path
        for key, value in facts.items()
        for path in ({(*above, key)} | (paths(value, (*above, key)) if isinstance(value, dict) else set()))
    }


def test_every_key_of_the_projects_own_file_is_found_where_it_is_written() -> None:
    text = (ROOT / "delegation.toml").read_text()
    found, lines = find(text), text.splitlines()

    for path in paths(tomllib.loads(text)):
        assert path[-1] in lines[found.of(path) - 1], path


KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, st.lists(TEXTS, max_size=3) | TEXTS | st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_whatever_the_values_hold_each_key_is_on_the_line_it_was_written_on(facts: dict[str, Any]) -> None:
    written, at, line = "", {}, 1
    for key, value in facts.items():
        shown = _shown(value)
        at[key,] = line
        written += f"{key} = {shown}\n"
        line += shown.count("\n") + 1
    tomllib.loads(written)

    assert dict(find(written).first) == at


def _shown(value: object) -> str:
    """As TOML writes it, over several lines where it can be."""
    if isinstance(value, str):
        return "'''\n" + value.replace("'", "") + "\n'''"
    if isinstance(value, list):
        quoted = ('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in value)
        return "[\n" + ",\n".join(quoted) + "\n]"
    return str(value)
