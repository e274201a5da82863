"""The requirement files are complete, pinned, hashed, and name no place to fetch from."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
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


def test_the_kit_for_features_needs_nothing_and_its_extras_fit_what_is_tested_here() -> None:
    project = tomllib.loads((ROOT / "celadon_feature/pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
    extras = {name: [_package(line) for line in lines] for name, lines in project["optional-dependencies"].items()}
    assert extras == {"flask": ["flask"], "redis": ["redis"], "sqlalchemy": ["sqlalchemy"]}


def test_the_kits_wheel_works_by_itself(tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "celadon_feature", tmp_path / "source")  # A build leaves things where it builds.
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        packed.extractall(tmp_path / "site")
    files = {path for path in (ROOT / "celadon_feature").rglob("*") if path.suffix in (".py", ".lua", ".typed")}
    assert names == {str(path.relative_to(ROOT)) for path in files}
    # -S: nothing that is installed can be imported.
    made = "import celadon_feature, celadon_feature.asgi, celadon_feature.testing; print(celadon_feature.new_key())"
    env = {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-S", "-c", made], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("whsec_"), done.stderr
