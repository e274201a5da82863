from __future__ import annotations

import os

import pytest

from celadon import serve
from celadon.settings import settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of the server that was started, once it was."""
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.extend(arguments))
    return started


@pytest.mark.parametrize("given", ["", "of my own"])
def test_all_processes_of_the_server_have_one_key(
    served: list[str], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("SECRET_KEY", given)
    settings.cache_clear()
    serve.run()
    key = os.environ["SECRET_KEY"]
    settings.cache_clear()

    assert "gunicorn" in served
    assert key == given or (given == "" and len(key) == 64)
    assert not any(key in argument for argument in served if key)  # Nobody reads it in the list of processes.
