"""The smallest web application that submits: for the test of forking servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import celadon
from celadon.app import load
from celadon.redis import get_redis

load()
# A server that preloads has used its connections before it forks; nothing of them may reach two processes.
celadon.submit("live.echo", {"name": "before-the-fork"})
get_redis().ping()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Submit one job per request; answers with the receipt."""
    get_redis().ping()
    receipt = celadon.submit("live.echo", {"name": "after-the-fork"}, confirm=True)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(receipt.as_dict()).encode()]
