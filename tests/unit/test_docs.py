"""What the documentation says is so: its Python runs, its links lead somewhere, its drawings match the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from celadon.cli import main as celadon
from celadon.metrics.declared import every as metrics
from celadon.metrics.kinds import Spread
from celadon.states import TRANSITIONS, State
from docs.reference.generate_metrics import page as metrics_page
from docs.reference.generate_settings import page as settings_page
from tests import forked
from tests.guarantees.__main__ import LONG_FORMS
from tests.ledgers import Ledgers

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NOT_RUN = "<!-- not run:"  # On the line before a block: followed by the reason.

EXAMPLES = {
    "submit_a_job": ["receipt: inline", "result 'Hello, Ada!'", "same key: duplicate, same job: True"],
    "feature_flask": ["again: 200", "replayed: true, mails: 1", '"permanent":true', "not signed by us: 401"],
    "feature_asgi": [
        "image-gen: 200",
        '"result":"a picture of a heron"',
        'analytics: 200 {"success":true,"result":42}',
    ],
    "steps": ["after the first try: scheduled", "reserved once: [7]; charged with one key: True"],
    "sleep": ["wakes in 14 days", "tries that failed: 0", "short sleep: inline, 'reminded'"],
    "limits": ["at once: acme, acme\n", "room for 0, 3 wait", "later: acme, acme, acme, bolt\n", "resumed: 1 ran"],
    "schedules": ["due 2027-03-28T03:00:00+02:00", "refused: crontab: hour='25'", "run now: succeeded, 'of 7 days'"],
    "testing": ["due now: 0", "a day later: scheduled, for the mail server", "ten minutes later: succeeded, 'sent'"],
    "transactional_enqueue": ["before the commit: pending", "after the commit: inline", "job in the ledger: None"],
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """(line of its first line, code) of each fenced block that is to be run."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = text.splitlines()
    numbered = [(text[: block.start(1)].count("\n"), block.group(1)) for block in found]
    return [(line, code) for line, code in numbered if not lines[line - 2].startswith(NOT_RUN)]


def script(text: str) -> str:
    """The page's Python, each line at the page's own line number, so that a traceback points into the page."""
    made: list[str] = []
    for line, code in blocks(text, "python"):
        made += [""] * (line - len(made)) + code.splitlines()
    return "\n".join(made) + "\n"


def run(arguments: list[str], ledger_url: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, on this ledger, without a broker."""
    settings = {"LEDGER_URL": ledger_url, "USE_BROKER": "false", "LOG_LEVEL": "ERROR", "PYTHONPATH": str(ROOT)}
    return forked.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **settings}, timeout=50)


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in PAGES if script(p.read_text()).strip()])
def test_the_python_of_a_page_runs(page: Path, ledgers: Ledgers, tmp_path: Path) -> None:
    file = tmp_path / page.with_suffix(".py").name
    file.write_text(script(page.read_text()))
    done = run([str(file)], ledgers.fresh("sqlite"))
    assert done.returncode == 0, f"{name(page)}:\n{done.stdout}{done.stderr}"


def test_a_block_that_fails_is_caught_at_its_line(tmp_path: Path) -> None:
    page = "# Title\n\n```python\na = 1\n```\n\ntext\n\n```python\nassert a == 2\n```\n"
    page += f"\n{NOT_RUN} it would fail -->\n```python\nraise SystemExit(9)\n```\n"
    file = tmp_path / "page.py"
    file.write_text(script(page))
    done = run([str(file)], "sqlite:///unused.db")
    assert (done.returncode, "line 10" in done.stderr) == (1, True)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_and_prints_what_it_should(example: str) -> None:
    done = run(["-m", f"examples.{example}"], "sqlite:///not-the-one-it-uses.db")
    assert done.returncode == 0, done.stderr
    assert [words for words in EXAMPLES[example] if words not in done.stdout] == []
    assert "Traceback" not in done.stderr


def test_every_example_is_run() -> None:
    files = {file.stem for file in (ROOT / "examples").glob("*.py")} - {"__init__", "scratch"}
    assert files == set(EXAMPLES)


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in PAGES])
def test_commands_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *(code for _, code in blocks(text, "console"))])
    targets = set(re.findall(r"^([a-z][a-z-]*)(?:-%)?:", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"(?:^|\$ )make ([a-z]+)\b", code, re.MULTILINE))
    assert wanted <= targets
    assert isinstance(celadon, click.Group)
    assert set(re.findall(r"(?:^|\$ |\$\()celadon ([a-z][a-z-]*)", code, re.MULTILINE)) <= set(celadon.commands)


def test_the_guarantees_are_all_there_and_name_tests_that_exist() -> None:
    rows = re.findall(r"^\| (G\d+) \|.*\| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [number for number, _ in rows] == [f"G{n}" for n in range(1, 17)]
    for number, checked_by in rows:
        named = re.findall(r"`(tests/[^`:]+)(?:::([^`]+))?`", checked_by)
        assert named or "later" in checked_by, f"{number} names no test and does not say that it comes later"
        for file, test in named:
            assert (ROOT / file).exists(), f"{number}: {file} is not there"
            assert not test or f"def {test}(" in (ROOT / file).read_text(), f"{number}: {file} has no {test}"


def test_every_long_proof_is_named_where_its_guarantee_is_promised() -> None:
    rows = dict(re.findall(r"^\| (G\d+) \|.*\| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    for number in LONG_FORMS:
        assert f"tests/guarantees/test_g{int(number[1:]):02}.py::" in rows[number]
    assert [number for number, told in rows.items() if f"`make guarantee-{number}`" in told] == list(LONG_FORMS)
    help_of_make = re.search(r"^guarantee-%:.*; NAME: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert help_of_make is not None
    assert help_of_make.group(1) == ", ".join(LONG_FORMS)


def test_the_drawn_states_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "states.md").read_text()
    drawn = re.findall(r"^ +(\w+) --> (\w+)", page, re.MULTILINE)
    assert {(State(a), State(b)) for a, b in drawn} == {(a, b) for a, to in TRANSITIONS.items() for b in to}
    assert len(drawn) == len(set(drawn))
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [state.value for state in State]


def test_the_settings_page_is_the_one_the_code_writes() -> None:
    written = (ROOT / "docs/reference/settings.md").read_text()
    assert written == settings_page(), "the settings have changed; run: make reference"


def test_the_metrics_page_is_the_one_the_code_writes() -> None:
    written = (ROOT / "docs/reference/metrics.md").read_text()
    assert written == metrics_page(), "the metrics have changed; run: make reference"


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in PAGES])
def test_metrics_that_are_named_exist(page: Path) -> None:
    there = {metric.name for metric in metrics()}
    there |= {f"{m.name}{end}" for m in metrics() if isinstance(m, Spread) for end in ("_bucket", "_sum", "_count")}
    assert set(re.findall(r"\bceladon_[a-z_]+_(?:total|seconds\w*|jobs|info|open)\b", page.read_text())) <= there
