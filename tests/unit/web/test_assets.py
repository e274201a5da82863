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
        answer = client.get(file)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=2592000"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789ab"])
def test_a_file_under_another_mark_is_kept_by_nobody_unasked(client: Client, query: str) -> None:
    # As of another release, while that is rolled out.
    answer = client.get(f"/static/shop.css{query}")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


def test_what_is_not_there_is_kept_by_nobody(client: Client) -> None:
    answer = client.get("/static/not-there.css?v=0123456789ab")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize("name", ["not-there.css", "../guard.py"])
def test_what_is_no_file_of_ours_has_no_mark(app: Flask, name: str) -> None:
    with app.test_request_context():
        assert "v=" not in url_for("static", filename=name)
