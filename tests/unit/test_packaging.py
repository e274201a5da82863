"""The requirement files are complete, pinned, hashed, and name no place to fetch from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETS = ["requirements", "requirements-local", "requirements-test"]


def wanted(name: str) -> dict[str, str]:
    """Package → its line, of a hand-written .in file."""
    lines = (line.split("#")[0].strip() for line in (ROOT / f"{name}.in").read_text().splitlines())
    return {_package(line): line for line in lines if line and not line.startswith("-")}


def pinned(name: str) -> dict[str, str]:
    """Package → version, of a pinned .txt file."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / f"{name}.txt").read_text(), re.MULTILINE))


def _package(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0].lower()


@pytest.mark.parametrize("name", SETS)
def test_every_wanted_package_is_pinned_with_a_hash(name: str) -> None:
    assert set(wanted(name)) <= set(pinned(name))
    blocks = re.split(r"\n(?=[a-z])", (ROOT / f"{name}.txt").read_text())
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


@pytest.mark.parametrize("name", SETS)
def test_no_file_names_an_index_a_host_or_a_path(name: str) -> None:
    text = "".join((ROOT / f"{name}.{kind}").read_text() for kind in ("in", "txt"))
    assert not re.search(r"https?:|file:|find-links|index-url|trusted-host| @ |(?<![\w.])/\w", text)


def test_the_three_sets_agree_on_versions() -> None:
    runtime, local, test = (pinned(name) for name in SETS)
    for one, other in [(runtime, local), (runtime, test), (local, test)]:
        assert {p: v for p, v in one.items() if p in other} == {p: v for p, v in other.items() if p in one}


def test_the_wheel_asks_for_the_same_ranges_as_the_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for lines in project["optional-dependencies"].values() for line in lines]
    ranges = {_package(line): line for line in project["dependencies"] + optional}
    runtime = wanted("requirements")
    assert {package: runtime.get(package) for package in ranges} == ranges
    # What only the shop uses is no business of the platform's wheel.
    assert set(runtime) - set(ranges) == {"fpdf2", "flask-wtf", "limits"}


def test_the_packages_the_deployment_card_names_are_named() -> None:
    named = set(wanted("requirements")) | set(wanted("requirements-test"))
    assert {"celery", "redis", "kombu", "flower", "flask", "sentry-sdk", "pytest", "pytest-celery"} <= named
