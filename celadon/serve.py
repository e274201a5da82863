"""`celadon web`: gunicorn with the application that WEB_APP names."""

from __future__ import annotations

import os
import secrets
import sys
from importlib.util import find_spec

from celadon.errors import CeladonError
from celadon.settings import override, settings


def run(bind: str | None = None, workers: int | None = None) -> None:
    """Replace this process by gunicorn.

    Threads, not greenlets: a fallback run blocks its thread and nothing else. Connections that were opened before a
    fork are dropped in the child by the platform's own fork hooks, so `--preload` is safe too.

    Raises CeladonError if there is no such application, or no gunicorn.
    """
    limits = settings()
    _check(limits.web_app)
    arguments = [
        sys.executable,
        "-m",
        "gunicorn",
        limits.web_app,
        "--config",
        "python:celadon.webserver",
        "--bind",
        bind or limits.web_bind,
        "--workers",
        str(workers or limits.web_workers),
        "--threads",
        str(limits.web_threads),
        "--worker-class",
        "gthread",
        "--log-level",
        limits.log_level.lower(),
        # An inline run may take its whole budget before the request is answered.
        "--timeout",
        str(int(limits.inline_budget_s) + 60),
        "--graceful-timeout",
        str(int(limits.inline_budget_s) + 10),
        # Its socket would stand in the home folder, which may be read-only, and be shared by all of one user.
        "--no-control-socket",
    ]
    if not limits.secret_key:
        # One for all processes: a cookie that one has signed must be good for the others.
        override(secret_key=secrets.token_hex(32))
    os.execv(sys.executable, arguments)


def _check(web_app: str) -> None:
    """Say in a sentence what every process of gunicorn would say in a traceback of its own."""
    if find_spec("gunicorn") is None:
        raise CeladonError("`celadon web` needs gunicorn: pip install 'celadon[web]'")
    module = web_app.partition(":")[0]
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None  # Not even the package that it would be in.
    if found is None:
        raise CeladonError(f"WEB_APP={web_app}: no module {module!r} is here; name yours, as in WEB_APP=app:app")
