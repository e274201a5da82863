"""Flower's configuration: nobody gets in without a password, and nobody steers from there."""

import runpy
from pathlib import Path
from typing import Any

import flower.options  # noqa: F401 - Defines the options.
import pytest
from tornado.options import options

FILE = Path(__file__).parents[2] / "flowerconfig.py"


def configured(monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    """What the file sets, for a Flower that was given these options before."""
    for name, value in given.items():
        monkeypatch.setattr(options.mockable(), name, value)
    return runpy.run_path(str(FILE))


@pytest.mark.parametrize("given", [["celadon:secret"], ["celadon:se:cret", "another:one"]])
def test_flower_starts_with_a_user_and_a_password_and_is_read_only(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configured(monkeypatch, basic_auth=given)["read_only"] is True


def test_flower_starts_with_a_login_by_oauth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, auth=r".*@example\.org")["read_only"] is True


@pytest.mark.parametrize("given", [[], [""], ["celadon"], ["celadon:"], [":secret"], ["celadon:secret", ""]])
def test_flower_does_not_start_open(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="open to everybody: set FLOWER_BASIC_AUTH=user:password"):
        configured(monkeypatch, basic_auth=given)
