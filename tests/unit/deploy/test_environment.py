"""`run/env`: what a second terminal needs, and secrets that are made once."""

import shlex
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.environment import secrets_of, write


def in_a_shell(file: Path, name: str) -> str:
    """The variable as a command sees it in a terminal that has read the file."""
    script = f"set -a; . {shlex.quote(str(file))}; set +a; printenv {name}"
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.removesuffix("\n")


def test_secrets_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    file = tmp_path / "env"
    first = secrets_of(file)
    write(file, {"LEDGER_URL": "sqlite:///x.db", **first.variables})
    assert secrets_of(file) == first
    assert secrets_of(tmp_path / "another") != first


def test_no_two_secrets_are_alike_and_none_is_short(tmp_path: Path) -> None:
    made = list(asdict(secrets_of(tmp_path / "env")).values())
    assert len(set(made)) == len(made) == 4
    assert all(len(secret) >= 16 for secret in made)


def test_a_secret_that_is_removed_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "env"
    first = secrets_of(file)
    write(file, {**first.variables, "SECRET_KEY": ""})
    second = secrets_of(file)
    assert second.secret_key not in ("", first.secret_key)
    assert second.flower_basic_auth == first.flower_basic_auth


def test_a_shell_reads_what_was_written_whatever_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "env"
    file.parent.mkdir()
    odd = "postgresql://u:p'$(id)\\\"#%@h/db name"
    write(file, {"LEDGER_URL": odd, **secrets_of(file).variables})
    assert in_a_shell(file, "LEDGER_URL") == odd
    assert in_a_shell(file, "SECRET_KEY") == secrets_of(file).secret_key


def test_only_the_owner_may_read_it_even_when_it_was_open_before(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.touch(mode=0o644)
    write(file, {"A": "b"})
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("line", ["SECRET_KEY", "='x'", "SECRET_KEY='x", "SECRET_KEY=x y"])
def test_a_line_that_is_no_variable_is_refused_without_telling_what_it_holds(line: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"# a comment\n{line}\n")
    with pytest.raises(ValueError, match=r"env:2 is no NAME='value'; mend the line or remove it$"):
        secrets_of(file)
