"""What the documentation says of the registration file is what can be read."""

from __future__ import annotations

import re
from pathlib import Path

from celadon.delegation import entry
from celadon.delegation.entries import PATH, Entry
from tests.unit.celadon.delegation.test_parsing import problems, table

DOCS = Path(__file__).parents[4] / "docs"
GUIDE = (DOCS / "guides" / "add-a-delegated-queue.md").read_text()
REFERENCE = (DOCS / "reference" / "registration-file.md").read_text()


def rows(section: str) -> dict[str, list[str]]:
    """The table of a section: the cells of each field."""
    told = REFERENCE.split(f"\n## {section}")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \| (.+) \|$", told, re.MULTILINE)
    return {field: cells.split(" | ") for field, cells in found}


def test_the_reference_has_every_field_of_a_queue_and_no_other() -> None:
    assert set(rows("[queues.NAME]")) == set(entry.FIELDS)


def test_the_reference_has_the_fields_of_the_resolver() -> None:
    (said,) = problems("[resolver]\nkid = 1\n[queues]\n")
    assert set(rows("[resolver]")) == {"kind", "template", "age_s"}
    assert "did you mean 'kind'" in said


def test_the_defaults_that_the_reference_tells_are_those_of_the_code() -> None:
    told = rows("[queues.NAME]")
    made: Entry = table('[services]\nmail = "https://mail.example"\n[queues.email]\nservice = "mail"\n').entries[
        "email"
    ]
    assert told["path"][0] == f'`"{PATH}"`'
    assert told["connect_timeout"][0] == f"{made.connect_s * 1000:.0f}"
    assert told["backoff_ms"][0] == f"{made.backoff_s * 1000:.0f}"
    assert told["max_answer_bytes"][0] == str(made.max_answer_bytes)


def test_the_entry_of_the_guide_can_be_read() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    made = table(text)
    assert (made.entries["email"].concurrency, set(made.callbacks)) == (10, {"https://shop.example.org"})


def test_the_problem_of_the_guide_is_told_in_those_words() -> None:
    (said,) = re.findall(r"^(delegation\.toml:6: .*)$", GUIDE, re.MULTILINE)
    text = '[services]\nmail = "https://mail.example"\n\n[queues.email]\nservice = "mail"\ntimout = 1000\n'
    assert said in problems(text)
