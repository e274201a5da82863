from __future__ import annotations

import re

import pytest
from flask import Flask, url_for

from tests.unit.web.conftest import Client


def test_every_file_a_page_names_is_there_under_the_mark_of_its_content(client: Client) -> None:
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/").text)

    assert files
    for file in files:
        assert re.search(r"\?v=[0-9a-f]{12}$", file)
        assert client.get(file).status_code == 200


@pytest.mark.parametrize("name", ["not-there.css", "../guard.py"])
def test_what_is_no_file_of_ours_has_no_mark(app: Flask, name: str) -> None:
    with app.test_request_context():
        assert "v=" not in url_for("static", filename=name)
