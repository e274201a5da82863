"""The API for programs, under /api."""

from __future__ import annotations

from flask import Blueprint

from web import ledger
from web.api import jobs, orders, products

blueprint = Blueprint("api", __name__, url_prefix="/api")
blueprint.before_request(ledger.require)
blueprint.add_url_rule("/products", "products", products.every)
blueprint.add_url_rule("/orders", "place", orders.place, methods=["POST"])
blueprint.add_url_rule("/orders/<uuid:order_id>", "order", orders.one)
blueprint.add_url_rule("/jobs/<job_id>", "job", jobs.one)
