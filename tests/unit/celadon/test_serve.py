from __future__ import annotations

import os
import re

import pytest

from celadon import serve
from celadon.errors import CeladonError
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


@pytest.mark.parametrize("web_app", ["shop:app", "shop.web:create_app()", "shop"])
def test_an_application_that_is_not_here_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, web_app: str) -> None:
    monkeypatch.setenv("WEB_APP", web_app)
    settings.cache_clear()

    with pytest.raises(CeladonError, match=f"WEB_APP={re.escape(web_app)}: no module 'shop.*' is here; name yours, as"):
        serve.run()
    settings.cache_clear()


def test_a_server_that_is_not_installed_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)

    with pytest.raises(CeladonError, match=r"needs gunicorn: pip install 'celadon\[web\]'"):
        serve.run()
