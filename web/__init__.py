"""Who asks: the shop for people and the API for programs. `create_app()` is what `celadon web` serves."""

from __future__ import annotations

from flask import Flask

import celadon.app
from web import api, assets, cookies, guard, health, problems, shop, telemetry

# Of a request's body. An order of 50 lines has 3 kB; nobody needs more.
MAX_REQUEST_BYTES = 64 * 1024


def create_app() -> Flask:
    """A new application; its settings are the platform's (`celadon.settings`)."""
    celadon.app.load()  # So that submit() knows the declared jobs.
    app = Flask(__name__, static_folder="shop/static", static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for part in (telemetry, cookies, guard, problems, assets):
        part.install(app)
    for blueprint in (api.blueprint, health.blueprint, shop.blueprint):
        app.register_blueprint(blueprint)
    guard.tokens.exempt(api.blueprint)  # It takes no cookies.
    return app
