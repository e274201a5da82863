"""`/health` for people, `/alive` for whoever restarts this process, `/ready` for whoever routes requests here."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify

from celadon import broker
from web import ledger

blueprint = Blueprint("health", __name__)

_STARTED = time.monotonic()


@blueprint.get("/health")
def health() -> Response:
    """200 as long as this process answers: `status` is `ok`, or `degraded` when a dependency is away."""
    up = {"ledger": ledger.answers(), "broker": broker.reachable()}
    status = "ok" if all(up.values()) else "degraded"
    dependencies = {name: {"status": "up" if is_up else "down"} for name, is_up in up.items()}
    uptime_s = round(time.monotonic() - _STARTED, 3)
    return jsonify({"status": status, "uptime_s": uptime_s, "dependencies": dependencies})


@blueprint.get("/alive")
def alive() -> Response:
    """200, and asks nothing: a restart helps nobody while a database, the broker or the names' server is away."""
    return jsonify({"status": "alive"})


@blueprint.get("/ready")
def ready() -> Response:
    """503 while the ledger is away. The broker may be: then jobs run here, or wait in the ledger."""
    ledger.require()
    return jsonify({"status": "ready"})
