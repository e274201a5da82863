"""The API for programs, under /api."""

from __future__ import annotations

from flask import Blueprint
from flask.blueprints import BlueprintSetupState

from web.api.addressed import CONVERTERS
from web.api.routes import ROUTES, served

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.record_once
def _converters(state: BlueprintSetupState) -> None:
    state.app.url_map.converters.update(CONVERTERS)


for _route in ROUTES:
    # A slash in a name is not one too many.
    blueprint.add_url_rule(
        _route.rule, _route.name, served(_route), methods=[_route.method], merge_slashes=":name>" not in _route.rule
    )
