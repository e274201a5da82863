"""Addresses of static files carry a mark of their content, so that no page of a release meets a script of another."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.security import safe_join

KEEP = timedelta(days=30)  # In browsers; another content has another address.


def install(app: Flask) -> None:
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = KEEP

    @app.url_defaults
    def mark(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            file = safe_join(app.static_folder or "", values["filename"])
            if file is not None and Path(file).is_file():
                values["v"] = _mark(file)


@cache
def _mark(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
