"""Addresses of static files carry a mark of their content, so that no page of a release meets a script of another.

While a new release is rolled out, an old process may be asked for a file by its new address. It answers with what it
has, but nobody keeps that.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.security import safe_join

KEEP = timedelta(days=30)  # In browsers; another content has another address.


def install(app: Flask) -> None:
    folder = app.static_folder or ""

    @app.url_defaults
    def mark(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and (found := _mark(folder, values["filename"])):
            values["v"] = found

    @app.after_request
    def keep(response: Response) -> Response:
        asked = request.args.get("v")
        if asked and request.endpoint == "static" and asked == _mark(folder, (request.view_args or {})["filename"]):
            response.headers["Cache-Control"] = f"public, max-age={int(KEEP.total_seconds())}"
        return response


def _mark(folder: str, name: str) -> str | None:
    """None for what is no file of ours."""
    file = safe_join(folder, name)
    return _of(file) if file and Path(file).is_file() else None


@cache
def _of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
